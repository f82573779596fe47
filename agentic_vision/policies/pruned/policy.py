"""Which model answers, when visual tokens are dropped inside it? A local one, pruned by one of `METHODS`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ...errors import ConfigError
from ..transformers import TransformersPolicy

if TYPE_CHECKING:
    from ..network import Network
    from ..weights import Weights
    from .method import Method

METHODS = ("fastv", "visiondrop", "todre")
"""The methods, by name."""


class PrunedPolicy(TransformersPolicy):
    """A `TransformersPolicy` that drops visual tokens of what it is shown, made by `load` or `of`.

    Everything else is as there: batches, KV caches kept from turn to turn (they shrink with what is dropped),
    streaming. `Reply.input_tokens` counts what was shown, before any was dropped.
    """

    def __init__(self, weights: Weights, method: str | Method, *, kept: float, **options: Any) -> None:
        """As `of`, with weights that are loaded already. `options`: as for `TransformersPolicy`.

        Raises `ConfigError` for other models and for settings that cannot be.
        """
        from ..weights import COORDINATES

        kind = weights.model.config.model_type
        if kind not in COORDINATES:
            raise ConfigError(f"a {kind} model cannot be pruned: give Qwen2-VL, 2.5-VL or 3-VL weights")
        self.method, self.kept = _method(method), _checked_share(kept)
        super().__init__(weights, **options)

    @classmethod
    def of(cls, policy: TransformersPolicy | Weights, method: str | Method, *, kept: float) -> Self:
        """`policy`, pruned: the same weights in memory, the same settings.

        `method`: a name of `METHODS`, or a method with settings of its own, such as `FastV(layer=3)`. `kept`, above
        0 and at most 1: the share of visual tokens that remains, as the method's paper counts: FastV, after layer
        K; VisionDrop, on the average of the layers; ToDRE, after the encoder. 1 is the plain model. Raises
        `ConfigError` for other values, for a layer that the model does not have, and for other models.
        """
        from ..weights import Weights

        if isinstance(policy, TransformersPolicy):
            return cls(policy.weights, method, kept=kept, **policy.options)
        if not isinstance(policy, Weights):
            raise ConfigError(
                f"a {type(policy).__name__} cannot be pruned: give a TransformersPolicy, on local weights"
            )
        return cls(policy, method, kept=kept)

    @classmethod
    def load(  # type: ignore[override]
        cls, name_or_path: str | Path, method: str | Method, *, kept: float, **options: Any
    ) -> Self:
        """Load a checkpoint folder or a hub name. `method` and `kept` as in `of`; `options` and errors as in
        `TransformersPolicy.load`.
        """
        _checked_share(kept)  # before torch is imported and the weights are loaded, which takes long
        _checked_method(method)
        return cls.of(TransformersPolicy.load(name_or_path, **options), method, kept=kept)

    @property
    def settings(self) -> dict[str, Any]:
        """As there, and how it is pruned."""
        return {**super().settings, "method": repr(self.method), "kept": self.kept}

    @property
    def processed_share(self) -> float:
        """The share of visual-token work that is left: visual tokens that a decoder layer sees, of all those shown,
        averaged over the decoder layers. Visual tokens times this are comparable between methods.

        The encoder still sees everything, and is not counted. FastV at K of L layers: (K + (L - K) x kept) / L.
        VisionDrop: `kept`, or the least that its first stage allows. ToDRE: `kept`, which is what its first stage
        leaves; that the second may end it earlier is not counted, for it depends on what is asked. An image's number
        of tokens is rounded, and is never 0, so that small images have a little more.
        """
        return self._pruned.share

    def _network(self, model: Any) -> Network:
        from .network import PrunedModel

        self._pruned = PrunedModel(model, self.method, self.kept)
        return self._pruned


def _checked_share(kept: float) -> float:
    if not 0 < kept <= 1:
        raise ConfigError(f"kept={kept} is no share of visual tokens to keep: give one above 0 and at most 1")
    return kept


def _checked_method(method: str | Method) -> None:
    if isinstance(method, str) and method not in METHODS:
        raise ConfigError(f"there is no pruning method {method!r}: give one of {', '.join(METHODS)}")


def _method(method: str | Method) -> Method:
    _checked_method(method)
    if not isinstance(method, str):
        return method
    from .fastv import FastV
    from .todre import ToDRE
    from .visiondrop import VisionDrop

    found: dict[str, Method] = {"fastv": FastV(), "visiondrop": VisionDrop(), "todre": ToDRE()}
    return found[method]
