"""qwen-vl-utils' image preparation and our views: the same pixels' worth of a large picture, from the file to RGB.

Each sample is a process of its own, forked when all imports are done (POSIX only): time is the processor's, memory the
peak above what the process held at first. Their glance is `process_vision_info` with Qwen2.5-VL's min_pixels, and for
max_pixels a quarter of what the full image takes; their crop is cut with Pillow, as Qwen's own cookbooks do it.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from measuring import Measured, Row, main
from pictures import photograph
from PIL import Image

from agentic_vision import Box, Source, View, family
from agentic_vision.policies.torchvision_ops import declare_operators

declare_operators()  # torchvision, which qwen-vl-utils imports, need not be built for this torch
from qwen_vl_utils import process_vision_info  # noqa: E402

Image.init()  # the plug-ins that read images: else the first look would pay for their import

FAMILY = family("qwen2.5-vl")
MIN_PIXELS = 4 * 28 * 28
LARGE, MEDIUM, TINY = (8064, 6048), (4032, 3024), (320, 240)

Looks = Callable[[Path], list[Image.Image]]


def crop_box(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """An eighth of either side, from the middle on."""
    width, height = size
    return width // 2, height // 2, width // 2 + width // 8, height // 2 + height // 8


def our_glance(source: Source) -> Image.Image:
    return View.whole(source.size, FAMILY.glance(source.size).size).render(source)


def our_crop(source: Source) -> Image.Image:
    x0, y0, x1, y1 = crop_box(source.size)
    cut = View.whole(source.size).crop(Box(x0=x0, y0=y0, x1=x1, y1=y1))
    return cut.resized(FAMILY.full(cut.size)).render(source)


def prepared(image: str | Image.Image, max_pixels: int) -> Image.Image:
    """What qwen-vl-utils makes of an image in a message."""
    content = [{"type": "image", "image": image, "min_pixels": MIN_PIXELS, "max_pixels": max_pixels}]
    (made,), _ = process_vision_info([{"role": "user", "content": content}])
    assert isinstance(made, Image.Image)
    return made


def their_glance(image: str | Image.Image, size: tuple[int, int]) -> Image.Image:
    return prepared(image, FAMILY.glance(size).tokens * 28 * 28)


def their_crop(image: Image.Image) -> Image.Image:
    return prepared(image.crop(crop_box(image.size)), FAMILY.max_pixels)  # type: ignore[attr-defined]


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def ours_both(path: Path) -> list[Image.Image]:
    source = Source.open(path)
    return [our_glance(source), our_crop(source)]


def theirs_both(path: Path) -> list[Image.Image]:
    """The image is opened once, so that it is decoded once."""
    with Image.open(path) as image:
        return [their_glance(image, image.size), their_crop(image)]


WAYS: dict[str, dict[str, Looks]] = {
    "glance": {
        "ours": lambda path: [our_glance(Source.open(path))],
        "theirs": lambda path: [their_glance(str(path), size_of(path))],
    },
    "full-detail crop": {
        "ours": lambda path: [our_crop(Source.open(path))],
        "theirs": lambda path: [their_crop(Image.open(path))],
    },
    "glance, then a crop": {"ours": ours_both, "theirs": theirs_both},
}


def sample(look: str, way: str, path: Path) -> dict[str, Any]:
    """One look in this very process: milliseconds, bytes, and the sizes that came out."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    images = WAYS[look][way](path)
    taken = 1000 * (time.process_time() - started)
    unit = 1 if sys.platform == "darwin" else 1024
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
    return {"ms": taken, "bytes": peak, "sizes": [image.size for image in images]}


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function gives in a forked process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        return pool.submit(function, *arguments).result()


def compared(look: str, of: str, path: Path, repeats: int) -> list[Row]:
    """Both ways in turn, each time in a fresh process."""
    samples: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
    for number in range(repeats):
        for way in ("ours", "theirs") if number % 2 else ("theirs", "ours"):
            samples[way].append(apart(sample, look, way, path))
    sizes = {way: " and ".join("x".join(map(str, size)) for size in samples[way][0]["sizes"]) for way in samples}
    note = sizes["ours"] if sizes["ours"] == sizes["theirs"] else f"{sizes['ours']}; theirs {sizes['theirs']}"

    def median(way: str, what: str) -> float:
        return statistics.median(taken[what] for taken in samples[way])

    work = f"{look}, {of}"
    return [
        Row(work, "ms", median("ours", "ms"), median("theirs", "ms"), note),
        Row(work, "peak MB", median("ours", "bytes") / 1e6, median("theirs", "bytes") / 1e6),
    ]


def measure(tiny: bool) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        large, medium = Path(folder) / "large.jpg", Path(folder) / "medium.png"
        for path, size in ((large, LARGE), (medium, MEDIUM)):
            shape = TINY if tiny else size
            apart(photograph, path, shape)  # so that this process holds none of it
        looks = [
            ("glance", "48-megapixel JPEG", large),
            ("glance", "12-megapixel PNG", medium),
            ("full-detail crop", "48-megapixel JPEG", large),
            ("glance, then a crop", "48-megapixel JPEG", large),
        ]
        if tiny:
            return Measured(compared(*looks[0], repeats=1))
        return Measured([row for look in looks for row in compared(*look, repeats=5)])


if __name__ == "__main__":
    main("qwen-vl-utils", measure)
