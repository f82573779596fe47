"""How is a checkpoint loaded? Without torchvision, without remote code, and with one clear error where it
cannot be.

`AutoProcessor` wants torchvision for a video processor that nothing here uses, and so does
`AutoImageProcessor`'s lazy import. All Qwen-VL models share one image processor, whose Pillow form is taken
directly: it is also the one that the published checkpoints were trained with.
"""

from __future__ import annotations

import json
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ConfigError, PolicyError
from ..qwen_tokens import QwenVL
from ..token_family import Coordinates

try:
    import torch

    from .torchvision_ops import declare_operators

    declare_operators()
    import transformers
    from safetensors.torch import load_file
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.utils.hub import cached_file
except ImportError as error:
    raise ConfigError.missing_extra("local", "A model with local weights") from error

_transformers: Any = transformers  # its own annotations change from release to release

COORDINATES: dict[str, Coordinates] = {
    "qwen2_vl": "per_mille",
    "qwen2_5_vl": "pixels",
    "qwen3_vl": "per_mille",
}
"""The architectures that the decoding loop knows, and how their models write boxes."""

T = TypeVar("T")


@dataclass(frozen=True)
class Reader:
    """What of a checkpoint turns a conversation into tokens. `config` is its transformers configuration."""

    config: Any
    tokenizer: Any
    image_processor: Any
    family: QwenVL


@dataclass(frozen=True)
class Weights:
    """A checkpoint in memory. `model` is on its device, ready to infer."""

    model: Any
    tokenizer: Any
    image_processor: Any
    family: QwenVL


def load_reader(name: str) -> Reader:
    """Load all of a checkpoint folder or a hub name but its weights.

    Raises `ConfigError` for a model of another kind, `PolicyError` for a checkpoint that cannot be had or is broken.
    """
    with quiet_transformers(), _told(name):
        config = _transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
        if config.model_type not in COORDINATES:
            raise ConfigError(f"{name} is a {config.model_type} model: give a Qwen2-VL, 2.5-VL or 3-VL checkpoint")
        tokenizer = _transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        tokenizer.chat_template = tokenizer.chat_template or _old_chat_template(name)
        image_processor = _image_processor(name)
    if not isinstance(tokenizer.chat_template, str):
        raise PolicyError(f"the checkpoint {name} has no chat template: add its chat_template.jinja")
    family = QwenVL.from_processor(image_processor, config.model_type, COORDINATES[config.model_type])
    return Reader(config, tokenizer, image_processor, family)


def load_weights(
    name: str,
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
    *,
    small: bool = False,
) -> Weights:
    """Load a checkpoint folder or a hub name, safetensors only.

    `device` None: the CUDA GPU if there is one, else the CPU. `dtype` None: the checkpoint's own on a GPU, float32
    on a CPU, which computes in half precision slowly or not at all. `small`: a folder that this transformers wrote, to
    be loaded in a fraction of a second. Raises `ConfigError` for a wrong argument, `PolicyError` for a
    checkpoint that cannot be had or is broken.
    """
    place = _checked_device(device)
    kind = _checked_dtype(dtype) if dtype is not None else torch.float32 if place.type == "cpu" else "auto"
    # OpenMP's threads belong to the thread that first computed, and a fork of the process has none of them: what is
    # loaded there, or was loaded before, must not wait for them.
    return _in_a_fresh_thread(lambda: _weights(name, place, kind, small=small))


def _weights(name: str, place: torch.device, kind: Any, *, small: bool) -> Weights:
    reader = load_reader(name)
    _check_no_pickle(name)
    with quiet_transformers(), _told(name):
        model, lost = (_filled if small else _loaded)(name, reader.config, kind)
    if lost:
        # transformers would fill these with random numbers and go on.
        raise PolicyError(
            f"the checkpoint {name} is incomplete: {len(lost)} weights are missing or of the wrong shape, "
            f"{lost[0]} first; copy or download it again"
        )
    try:
        model = model.to(place).eval()
    except torch.OutOfMemoryError as error:
        raise PolicyError(f"the checkpoint {name} does not fit on {place}: take another device, or dtype") from error
    return Weights(model, reader.tokenizer, reader.image_processor, reader.family)


def _in_a_fresh_thread(work: Callable[[], T]) -> T:
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="agentic-vision-load", daemon=True).start()
    return done.result()


def _check_no_pickle(name: str) -> None:
    """Raises `PolicyError` for a folder whose weights can only be read by running what it says."""
    pickled = sorted(Path(name).glob("*.bin")) + sorted(Path(name).glob("*.pt*"))
    if pickled and not any(Path(name).glob("*.safetensors")):
        raise PolicyError(
            f"the weights of {name} are a pickle ({pickled[0].name}), which can run code while it is read: where you "
            "trust it, load it with transformers and save_pretrained() it, which writes safetensors"
        )


@contextmanager
def _told(name: str) -> Iterator[None]:
    """What transformers raises while it loads `name`, as one error of ours."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # OSError, ValueError, SafetensorError …: there is no one type
        reason = " ".join(str(error).split())
        if not Path(name).exists():
            reason = f"there is no such folder here, and as a name on the hub it cannot be had ({reason})"
        raise PolicyError(f"cannot load the checkpoint {name}: {reason}") from error


def _loaded(name: str, config: Any, dtype: Any) -> tuple[Any, list[str]]:
    """The model, and the names of weights that its checkpoint lacks."""
    model, report = _transformers.AutoModelForImageTextToText.from_pretrained(
        name,
        config=config,
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    return model, sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})


def _filled(name: str, config: Any, dtype: Any) -> tuple[Any, list[str]]:
    """As `_loaded`, without a stay on the meta device, which imports sympy and more, for over a second."""
    with torch.random.fork_rng(devices=[]):
        model = _transformers.AutoModelForImageTextToText.from_config(config, dtype=dtype)
    lost, _ = model.load_state_dict(load_file(Path(name) / "model.safetensors"), strict=False)
    model.tie_weights()
    return model, sorted(set(lost) - set(model.all_tied_weights_keys))


def _checked_device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"{device!r} is no device: give 'cpu', 'cuda' or 'cuda:1'") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {str(place)!r} was asked for, but this torch sees no CUDA GPU: leave `device` out")
    if place.type == "meta":
        raise ConfigError("the device 'meta' holds no numbers: give 'cpu', 'cuda' or 'cuda:1'")
    try:
        torch.zeros(1, device=place)
    except Exception as error:  # RuntimeError, AssertionError, NotImplementedError: each device has its own
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"device {str(place)!r} cannot be used here ({reason}): leave `device` out") from error
    return place


def _checked_dtype(dtype: str | torch.dtype) -> torch.dtype:
    kind = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(kind, torch.dtype) or not kind.is_floating_point:
        raise ConfigError(f"{dtype!r} is no dtype for weights: give 'float32', 'bfloat16' or 'float16'")
    return kind


def _image_processor(name: str) -> Any:
    settings, _ = Qwen2VLImageProcessorPil.get_image_processor_dict(name)
    # Without a size of its own, old settings (min_pixels, max_pixels) would be written into the class's, for
    # all that follow.
    settings["size"] = dict(settings.get("size") or Qwen2VLImageProcessorPil.size)
    return Qwen2VLImageProcessorPil.from_dict(settings)


def hub_file(name: str, file: str) -> Path | None:
    """A small file of a checkpoint on the hub; None where it has none, or the hub cannot be reached and the file was
    not had before.
    """
    with quiet_transformers(), _told(name):
        found = cached_file(
            name,
            file,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    return None if found is None else Path(found)


def _old_chat_template(name: str) -> str | None:
    """Where processors kept it before there was chat_template.jinja."""
    file = cached_file(name, "chat_template.json", _raise_exceptions_for_missing_entries=False)
    return None if file is None else str(json.loads(Path(file).read_text(encoding="utf-8"))["chat_template"])


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No warnings and no progress bars while loading; everything as it was afterwards."""
    log = _transformers.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    hub = logging.getLogger("huggingface_hub")
    hub_level = hub.level
    log.set_verbosity_error()
    log.disable_progress_bar()
    hub.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hub.setLevel(hub_level)
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
