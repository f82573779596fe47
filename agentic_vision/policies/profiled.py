"""What a policy knows by its model's profile: the base of those that ask somebody else's model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..policy import PromptStyle
from ..profiles import Price, Profile
from ..profiles import profile as profile_of
from ..visual_tokens import Family


class Profiled:
    """`model` is its name; `profile` what is known of it, or single fields that are known better than by its name."""

    def __init__(self, model: str, profile: Profile | Mapping[str, Any] | None) -> None:
        self.model = model
        self.profile = profile if isinstance(profile, Profile) else profile_of(model, **(profile or {}))

    @property
    def family(self) -> Family:
        """The visual-token arithmetic and coordinates of the model."""
        return self.profile.family

    @property
    def style(self) -> PromptStyle:
        """How the model is told of its tools."""
        return self.profile.style

    @property
    def price(self) -> Price | None:
        """What its tokens cost, where that is known."""
        return self.profile.price
