"""Why can `import torchvision` fail beside a torch without CUDA, and what is done about it?

The package index's torchvision for Linux is built for CUDA. Beside a CPU build of torch its C library does not load,
and its import then stumbles over two operators that the library would have declared. Qwen-VL's image processing
needs neither: declaring their signatures is enough for torchvision to be imported.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import library as operators

OPERATORS = ("nms", "qnms")


@cache
def declare_operators() -> Any:
    """Makes torchvision importable where its C library cannot be loaded; elsewhere does nothing.

    To be called before transformers is imported: it imports torchvision where it finds it.
    """
    found = find_spec("torchvision")
    library = next(Path(found.origin).parent.glob("_C.*"), None) if found and found.origin else None
    if library is None:
        return None
    try:
        ctypes.CDLL(str(library))  # as torchvision itself does: what is loaded here has declared its operators
    except OSError:
        declared: Any = operators.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in OPERATORS:
            declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return declared  # kept alive by the cache: when it goes, so do its declarations
    return None
