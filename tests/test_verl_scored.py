"""What verl is given of a group: who counts, what they earned and at which token, and what validation averages."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("verl")

from groups import group, trajectory

from agentic_vision.training import Scores
from agentic_vision.training.run_folder import step_figures
from agentic_vision.training.verl.advantages import fork
from agentic_vision.training.verl.scored import ScoredGroup, trainable

NOISE = (-0.4, -0.402, -0.398)  # of bf16 and of batches: the same token, read three times
LENGTH = 3


def scored(
    acted: str, totals: tuple[Any, ...], side: tuple[Any, ...] | None, log_probs: tuple[float, ...] = NOISE
) -> ScoredGroup:
    """A group of `D` direct and `T` tool trajectories."""
    asked = group(*(trajectory("417", tool=way == "T") for way in acted), kind="fine")
    keys = [f"g_{n}_0" for n in range(len(acted))]
    none = [{}] * len(acted)
    scores = Scores(totals, {"accuracy": totals})
    return ScoredGroup(keys, none, [LENGTH] * len(acted), asked, scores, side, [0] * len(acted), log_probs)


def advantages(one: ScoredGroup, **how: Any) -> torch.Tensor:
    """By `fork`: the last token is the template's."""
    rewards = torch.stack([row["rm_scores"] for row in one.training(**how).values()])
    mask = torch.tensor([[1] * (LENGTH - 1) + [0]] * len(rewards))
    return fork(rewards, mask, np.array(["g"] * len(rewards)))[0]


def test_where_all_acted_alike_nobody_is_paid_for_surprise() -> None:
    direct = scored("DDD", (1.0, 0.0, 1.0), (0.5, 0.5, 0.5))
    assert advantages(direct, entropy=0.3).abs().max() < 1.2  # the outcome's alone; it was 11.8 at the first token
    assert direct.training(entropy=0.3).keys() == direct.training().keys()
    parted = scored("DDT", (1.0, 0.0, 1.0), (0.5, 0.5, 0.5), (-0.1, -0.1, -2.0))
    surprising = advantages(parted, entropy=0.3)
    assert surprising[2, 0] > 5 > -1 > surprising[0, 0]


def test_one_that_has_no_verdict_makes_no_decision_of_the_others() -> None:
    """The two that count answered at once: their log-probabilities differ by noise alone."""
    assert advantages(scored("DDT", (1.0, 1.0, None), (0.5, 0.5, None)), entropy=0.3).abs().max() == 0


def test_groups_that_are_alike_are_dropped_whatever_surprised_them() -> None:
    assert scored("DDD", (1.0,) * 3, (0.5,) * 3).training(entropy=0.3, drop_alike=True) == {}
    assert len(scored("DDD", (1.0,) * 3, (0.5, 0.5, 0.4)).training(entropy=0.3, drop_alike=True)) == 3
    assert len(scored("DDD", (1.0, 1.0, 0.0), None).training(drop_alike=True)) == 3


@pytest.mark.parametrize(
    ("totals", "side", "counting"),
    [
        ((1.0, None, 0.0), None, [0, 2]),
        ((1.0, None, None), None, []),  # one alone
        ((1.0, 0.0, 0.0), (0.5, None, 0.5), [0, 2]),
        ((1.0, 0.0, None), (0.5, None, 0.5), []),
    ],
)
def test_who_has_no_verdict_leaves_the_group(totals: Any, side: Any, counting: list[int]) -> None:
    assert list(scored("DTD", totals, side).training()) == [f"g_{n}_0" for n in counting]


@pytest.mark.filterwarnings("ignore:invalid value")
def test_in_validation_no_verdict_is_no_score() -> None:
    """As verl averages what it is told, and as a run's metrics then have it."""
    from verl.trainer.ppo.metric_utils import process_validation_metrics  # after agentic_vision.training.verl

    rows = scored("DTD", (1.0, None, 0.5), None).validation()
    told: dict[str, list[Any]] = {"reward": [float(row["rm_scores"].sum()) for row in rows.values()]}
    facts = [row["extra_fields"]["reward_extra_info"] for row in rows.values()]
    for name in {name for fact in facts for name in fact}:
        assert name not in told  # verl extends its own: it would have twice as many
        told[name] = [fact.get(name) for fact in facts]
    found = process_validation_metrics(["fine"] * 3, ["g"] * 3, told)["fine"]
    averages = {name: values[next(key for key in values if key.startswith("mean@"))] for name, values in found.items()}
    assert math.isnan(averages["reward"])
    figures = step_figures({f"val-aux/fine/{name}/mean@1": value for name, value in averages.items()})
    assert figures["val_reward_fine"] == figures["val_accuracy_fine"] == 0.75
    assert figures["val_no_verdict_fine"] == pytest.approx(1 / 3)


class TestRowsOfOneLength:
    """verl cannot train on them: one goes, and leaves nobody alone."""

    def left(self, *keys: str, lengths: tuple[int, ...] = ()) -> list[str]:
        return trainable(keys, lengths or (9,) * len(keys), keys)

    def test_one_of_the_largest_group(self) -> None:
        assert self.left("a_0_0", "b_0_0", "a_1_0", "a_2_0", "b_1_0") == ["a_0_0", "b_0_0", "a_1_0", "b_1_0"]

    def test_a_pair_whole(self) -> None:
        assert self.left("a_0_0", "a_1_0", "b_0_0", "b_1_0") == ["b_0_0", "b_1_0"]
        assert self.left("a_0_0", "a_1_0") == []

    def test_none_where_lengths_differ(self) -> None:
        assert self.left("a_0_0", "a_1_0", lengths=(9, 8)) == ["a_0_0", "a_1_0"]

    def test_of_those_that_count(self) -> None:
        assert trainable(["a_0_0", "a_1_0", "a_2_0"], [9, 8, 9], ["a_0_0", "a_2_0", "a_1_0"]) == [
            "a_0_0",
            "a_1_0",
            "a_2_0",
        ]
        assert trainable(["a_0_0", "a_1_0", "b_0_0"], [9, 9, 8], ["a_0_0", "a_1_0"]) == []
