"""Do local weights work here? torch and its devices, transformers, the checkpoint that ships, and whether the visual
tokens that we count are those of the installed image processor.

A part of `agentic-vision doctor`, which asks for it only where torch is installed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import resources
from typing import TYPE_CHECKING, Any

import torch

from ..doctor.finding import Finding, Health, broken
from ..errors import AgenticVisionError
from ..qwen_tokens import QWEN2_5_VL, QWEN2_VL, QWEN3_VL, QwenVL
from ..token_family import Size

if TYPE_CHECKING:
    from types import ModuleType

SIZES: tuple[Size, ...] = (
    *((1, 1), (28, 28), (31, 33), (640, 480), (1280, 720), (1920, 1080), (4032, 3024), (12_000, 9_000)),
    *((2, 400), (400, 2), (30, 6_000), (8_000, 40), (7, 1_399)),  # as long as the processor takes, and nearly
    *((1, 5_000), (20_000, 3)),  # longer
)
_DRIVER = "/dev/nvidiactl"


def local_checks() -> Iterator[Finding]:
    """Everything that needs torch."""
    yield Finding("torch", Health.OK, torch.__version__)
    yield from _devices()
    try:
        from . import weights
    except AgenticVisionError as error:
        # The extra's own line says so where it is missing; here it is installed, and broken.
        yield broken("transformers", error.__cause__ or error, "pip install --force-reinstall 'agentic-vision[local]'")
        return
    yield _loads(weights)
    for family in (QWEN2_VL, QWEN2_5_VL, QWEN3_VL):
        yield counted(family, _processor(weights, family))


def _devices() -> Iterator[Finding]:
    if not torch.cuda.is_available():
        if torch.backends.mps.is_available():
            yield Finding("device mps", Health.OK, "Apple GPU; used where device='mps' is given")
        elif os.path.exists(_DRIVER):
            said = f"there is an NVIDIA driver, but torch {torch.__version__} sees no GPU"
            yield Finding("device cpu", Health.WARNING, said, "install a CUDA build of torch that fits the driver")
        else:
            yield Finding("device cpu", Health.OK, f"{torch.get_num_threads()} threads; no GPU")
        return
    for number in range(torch.cuda.device_count()):
        name = f"device cuda:{number}"
        try:
            free, total = torch.cuda.mem_get_info(number)
            torch.ones(1, device=f"cuda:{number}").add(1).item()  # a build without kernels for this GPU fails here
        except RuntimeError as error:
            yield broken(name, error, "install a build of torch that fits the GPU and its driver")
        else:
            memory = f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} free"
            yield Finding(name, Health.OK, f"{torch.cuda.get_device_name(number)}, {memory}")


def _loads(weights: ModuleType) -> Finding:
    """The checkpoint that ships: settings, tokenizer, and the list of its weights, which tells a file that is cut."""
    from safetensors import SafetensorError, safe_open

    folder = resources.files(__package__) / "embedded_checkpoint"
    try:
        with resources.as_file(folder) as path:
            weights.load_reader(str(path))
            with safe_open(path / "model.safetensors", framework="pt") as file:
                names = len(file.keys())
    except (AgenticVisionError, SafetensorError, OSError) as error:
        return broken("transformers", error, "pip install --force-reinstall 'agentic-vision[local]'")
    return Finding("transformers", Health.OK, f"reads the embedded checkpoint: {names} weights, settings, tokenizer")


def _processor(weights: ModuleType, family: QwenVL) -> Any:
    return weights.Qwen2VLImageProcessorPil(
        patch_size=family.patch_size,
        merge_size=family.merge_size,
        size={"shortest_edge": family.min_pixels, "longest_edge": family.max_pixels},
    )


def counted(family: QwenVL, processor: Any) -> Finding:
    """Whether the processor counts as we do: for sizes as they come, and for those that we would send."""
    name = f"visual tokens {family.name}"
    sizes = {size for size in SIZES if max(size) <= family.LONGEST_ASPECT * min(size)}
    for size in SIZES:
        sizes |= {family.full(size), family.glance(size).size}
    for size in sorted(sizes):
        width, height = size
        theirs = processor.get_number_of_image_patches(height, width, {}) / family.merge_size**2
        if (ours := family.tokens(size)) != theirs:
            said = f"we count {ours} for {width} x {height} pixels, the installed transformers {theirs:g}"
            return Finding(name, Health.BROKEN, said, "pip install --upgrade agentic-vision, or report both versions")
    return Finding(name, Health.OK, f"as the processor counts them, at {len(sizes)} sizes")
