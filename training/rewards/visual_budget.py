"""A budget of visual tokens that training keeps to by itself."""

from __future__ import annotations

from collections.abc import Sequence

from agentic_vision.errors import ConfigError

from .reward import Group, Part, Scoring
from .visual_cost import token_ratio


class VisualBudget(Part):
    """What the visual tokens of a trajectory cost, at a price that follows the budget. Subtract it.

    Accuracy is maximised where visual tokens over full-resolution tokens are `budget` in the mean: the price of a full
    image is the multiplier of that constraint, raised after a training batch that looked too much and lowered after
    one that looked too little (dual ascent). It starts at `price`, changes by `rate` times what is too much of every
    group, and stays between 0 and `most`. Scoring leaves it as it is; `learn` moves it.

    A fixed price that is a little too low sends a policy that cannot tell questions apart yet to look always, one that
    is too high never; at the budget it keeps trying both, and learns where looking pays.
    """

    name = "visual_budget"

    def __init__(self, budget: float, price: float = 1.0, rate: float = 0.1, most: float = 10.0) -> None:
        """Raises `ConfigError` for impossible settings."""
        if not budget > 0 or not 0 <= price <= most or rate < 0:
            raise ConfigError(
                f"budget {budget}, price {price}, rate {rate}: give a budget above 0, a price from 0 to {most}, and a "
                "rate of 0 or more"
            )
        self.budget, self.price, self.rate, self.most = budget, price, rate, most

    def memory(self) -> float:
        return self.price

    def remember(self, memory: float) -> None:
        self.price = memory

    def learn(self, groups: Sequence[Group]) -> None:
        for group in groups:
            ratios = [ratio for ratio in map(token_ratio, group.trajectories) if ratio is not None]
            if ratios:
                too_much = sum(ratios) / len(ratios) - self.budget
                self.price = min(max(self.price + self.rate * too_much, 0.0), self.most)

    async def values(self, scoring: Scoring) -> Sequence[float | None]:
        ratios = map(token_ratio, scoring.group.trajectories)
        return [None if ratio is None else self.price * ratio for ratio in ratios]
