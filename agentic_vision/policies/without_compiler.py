"""Why does loading a model take two seconds less than transformers alone takes to import?

`import transformers` imports torch's compiler, `torch._dynamo`, two seconds of it, to decorate functions in
ways that matter to `torch.compile` only (MoE and FlexAttention kernels); nothing here compiles. Within
`without_compiler()` a stand-in answers for these decorators by leaving the function as it is. Whoever asks it
for anything else gets the real module, and afterwards `import torch._dynamo` gives the real one to all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"
TRACER = "torch._dynamo._trace_wrapped_higher_order_op"


@contextmanager
def without_compiler() -> Iterator[None]:
    """Import and load under the stand-in; does nothing where the compiler is imported already."""
    if COMPILER in sys.modules:
        yield
        return
    sys.modules[COMPILER], sys.modules[TRACER] = _Compiler(COMPILER), _Tracer(TRACER)
    try:
        yield
    finally:
        _leave()


def _leave() -> None:
    for name in (COMPILER, TRACER):
        if isinstance(sys.modules.get(name), _Compiler | _Tracer):
            del sys.modules[name]


def _real(module: str, name: str) -> Any:
    _leave()
    return getattr(import_module(module), name)


def _as_it_is(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Callable[..., Any]:
    """A decorator, with or without arguments, that changes nothing."""
    return function if callable(function) else _as_it_is


class _Compiler(ModuleType):
    allow_in_graph = assume_constant_result = disable = staticmethod(_as_it_is)

    def __getattr__(self, name: str) -> Any:
        return _real(COMPILER, name)


class _Tracer(ModuleType):
    @staticmethod
    def TransformGetItemToIndex() -> Any:  # noqa: N802 (the class whose place it takes)
        """The real one, when attention masks of other model families ask for it."""
        return _real(TRACER, "TransformGetItemToIndex")()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system looks for a package's marks
            raise AttributeError(name)
        return _real(TRACER, name)
