"""A policy around another: what an evaluation adds to one without changing it."""

from __future__ import annotations

from typing import Any

from ..policy import Policy, PromptStyle
from ..visual_tokens import Family


class Wrapped:
    """All but `reply` is the wrapped policy's. Whether it can conclude is for each wrapper to pass on."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    @property
    def family(self) -> Family:
        return self.policy.family

    @property
    def style(self) -> PromptStyle:
        return self.policy.style

    @property
    def price(self) -> Any:
        """What a million tokens cost; None where that is not known."""
        return getattr(self.policy, "price", None)

    def forget(self, conversation_id: str) -> None:
        """Passed on."""
        self.policy.forget(conversation_id)
