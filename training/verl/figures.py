"""What is told of a step: of its trajectories, and of the parts of its reward. Names as in `metrics.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..rewards.call_ratio import called
from ..rewards.reward import Group, Scores
from ..rewards.visual_cost import token_ratio
from ..run_folder import PREFIX


def figures(groups: Sequence[Group], scores: Sequence[Scores]) -> dict[str, float]:
    """Means over all trajectories of `groups`, whose `scores` stand in the same order; what none has is left out.

    `accuracy` is the reward's first part. `call_ratio_fine` and `_coarse` need rows of a `kind`; `alike` is the share
    of groups whose totals are all alike: they teach nothing.
    """
    trajectories = [one for group in groups for one in group.trajectories]
    kinds = [group.row.get("kind") for group in groups for _ in group.trajectories]
    told: dict[str, Iterable[float | None]] = {
        "reward": [total for one in scores for total in one.totals],
        "call_ratio": [float(called(one)) for one in trajectories],
        "visual_tokens_ratio": [token_ratio(one) for one in trajectories],
        "turns": [float(len(one.turns)) for one in trajectories],
        "malformed": [float(any(turn.problem for turn in one.turns)) for one in trajectories],
        "no_verdict": [float(total is None) for one in scores for total in one.totals],
        "alike": [float(len(set(one.totals)) < 2) for one in scores],
    }
    for name in ("fine", "coarse"):
        chosen = [one for one, kind in zip(trajectories, kinds, strict=True) if kind == name]
        told[f"call_ratio_{name}"] = [float(called(one)) for one in chosen]
        told[f"visual_tokens_ratio_{name}"] = [token_ratio(one) for one in chosen]
    for number, part in enumerate(dict.fromkeys(name for one in scores for name in one.parts)):
        values = [value for one in scores for value in one.parts.get(part, ())]
        told[f"part_{part}"] = values
        if number == 0:
            told["accuracy"] = values
            for name in ("fine", "coarse"):
                told[f"accuracy_{name}"] = [
                    value
                    for group, one in zip(groups, scores, strict=True)
                    if group.row.get("kind") == name
                    for value in one.parts.get(part, ())
                ]
    means = {name: _mean(values) for name, values in told.items()}
    return {PREFIX + name: mean for name, mean in means.items() if mean is not None}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
