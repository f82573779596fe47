"""Who hears what the decoders think of a damaged file? Nobody: it is an image or an `ImageError`, and no chatter.

Pillow warns of metadata that it mends or ignores, and libtiff writes what it finds to the process's stderr.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
import warnings
from collections.abc import Iterator
from functools import cache

_lock = threading.Lock()
_inside = 0  # how many threads are in `quiet`
_ours: list[object] = []  # the filter that is set for them


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warning of Pillow's is shown within; others' are. Several threads may be in it at once.

    Not `warnings.catch_warnings`: it puts back, at its end, what other threads have changed meanwhile, so that
    decoding would have to wait for one another.
    """
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _ours.append(warnings.filters[0])
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                with contextlib.suppress(ValueError):  # the application has set other filters meanwhile
                    warnings.filters.remove(_ours.pop())  # type: ignore[attr-defined]


@cache
def silence_libtiff() -> None:
    """Take libtiff's handlers away, which print. Where Pillow was built so that they cannot be reached, they print."""
    from PIL import _imaging

    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(_imaging.__file__)  # which finds the symbols of what it is linked with
        for setter in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            setter.restype, setter.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
            setter(None)
