"""Strategies by name: shares, pruning, one of the user's own, and what a row must say for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluations import EVIDENCE, SIZE, policy, ten_rows

from agentic_vision.errors import ConfigError
from agentic_vision.evaluation import Plan, Pruning, Script, evaluate
from agentic_vision.evaluation.scripted import padded
from agentic_vision.evaluation.strategies import strategy
from agentic_vision.rows import Row


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    return ten_rows(tmp_path)


def look_at_all_fine_ones(row: Row) -> Plan:
    """The strategy of a user: full resolution, by a call, wherever the row is fine."""
    return Plan(tools=True, script=Script("full_res") if row.kind == "fine" else None)


def randomly(_: Row) -> Plan:
    return Plan(tools=False)


def no_plan(_: Row) -> str:
    return "look"


def raises(_: Row) -> Plan:
    raise KeyError("evidence")


def test_a_share_and_a_pruning_are_part_of_the_name(rows: list[Row]) -> None:
    assert strategy("resize").plan(rows[0]) == Plan(tools=False, share=0.5)
    assert strategy("resize:0.36").plan(rows[0]) == Plan(tools=False, share=0.36)
    pruned = Plan(tools=True, pruning=Pruning("fastv", 0.5))
    assert strategy("agent+fastv:0.5").plan(rows[0]) == pruned
    assert strategy("resize:0.5+todre:0.25").plan(rows[0]).share == 0.5


def test_a_users_own_strategy_is_a_function_by_import_path(rows: list[Row], tmp_path: Path) -> None:
    name = f"{__name__}:look_at_all_fine_ones"
    scores = evaluate(rows, policy(), [name, "full"], tmp_path / "out").strategies
    assert list(scores) == [name, "full"]
    assert (scores[name].accuracy, scores[name].call_ratio_coarse, scores[name].call_ratio_fine) == (1, 0, 1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("best", "no strategy 'best': choose from glance"),
        ("resize:2", "resize:2: 2 is no share of the visual tokens"),
        ("resize:0.3.6", r"0\.3\.6 is no share"),
        ("full:0.5", "full takes no share, resize does: resize:0.5"),
        ("full+fastv:0", "0 is no share"),
        ("nowhere.to_be.found:plan", "cannot import nowhere.to_be.found for"),
        (".x:y", "cannot import .x for '.x:y'"),
        (f"{__name__}:gone", "has no gone"),
        (f"{__name__}:raises", "raises failed at row-0: KeyError: 'evidence'"),
        (f"{__file__}:gone", "has no gone"),
        (f"{__name__}:EVIDENCE", "is no function"),
        (f"{__name__}:no_plan", "gives str: return a Plan"),
    ],
)
def test_a_name_that_is_none_is_told_before_the_first_question(
    rows: list[Row], tmp_path: Path, name: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        evaluate(rows, policy(), [name], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_strategy_needs_and_a_row_does_not_say_is_told_before_the_first_question(
    rows: list[Row], tmp_path: Path
) -> None:
    bare = rows[0].model_copy(update={"evidence": None, "sufficient": None})
    with pytest.raises(ConfigError, match="'row-0' has no evidence box"):
        evaluate([bare], policy(), ["right_crop"], tmp_path / "out")
    with pytest.raises(ConfigError, match="'row-0' does not say which tool is sufficient"):
        evaluate([bare], policy(), ["oracle"], tmp_path / "out")
    with pytest.raises(ConfigError, match="no strategy is given"):
        evaluate(rows, policy(), [], tmp_path / "out")
    with pytest.raises(ConfigError, match="the id 'row-0' comes twice"):
        evaluate([*rows, rows[0]], policy(), ["glance"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_coin_of_random_is_fixed_by_the_row_and_the_seed(rows: list[Row]) -> None:
    def tosses(seed: int) -> list[bool]:
        return [strategy("random", seed=seed).plan(row).script is not None for row in rows]

    assert tosses(0) == tosses(0)
    assert len({tuple(tosses(seed)) for seed in range(8)}) > 1
    assert 20 < sum(sum(tosses(seed)) for seed in range(8)) < 60


def test_the_right_crop_holds_the_evidence_with_a_margin_on_a_coarse_grid(rows: list[Row]) -> None:
    assert strategy("right_crop").plan(rows[1]).script == Script("zoom_crop", EVIDENCE)
    # 192 / 15 = 12.8 pixels around (100, 100, 130, 112), in steps of 192 / 40 = 4.8 and 160 / 40 = 4 pixels.
    assert padded(EVIDENCE, SIZE).as_tuple() == pytest.approx((86.4, 88, 144, 124))
    with pytest.raises(ConfigError, match="lies outside the first image, 192 x 160"):
        padded((500, 500, 510, 510), SIZE)
