"""The server under load, for seconds: benchmarks/reliability/soak.py does the same for a quarter of an hour."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

RELIABILITY = Path(__file__).parent.parent / "benchmarks" / "reliability"


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Any:
    """benchmarks/reliability/soak.py, as a module."""
    monkeypatch.syspath_prepend(RELIABILITY)
    return importlib.import_module("soak")


def test_no_answer_is_crossed_or_lost_and_nothing_is_left_at_work(soak: Any) -> None:
    told = soak.soaked(seconds=6, clients=10, in_flight=4, queue=3)
    assert told["breaches"] == []
    assert told["outcomes"]["answered"] > 5
    assert told["outcomes"]["429"] > 0
    assert sum(told["at_sigterm"].values()) == 4


def test_what_does_not_hold_is_told(soak: Any) -> None:
    whole = {
        "outcomes": {"answered": 9},
        "crossed": 0,
        "lost": 0,
        "p99_s": 1.0,
        "still_at_work": 0,
        "seconds": 900.0,
        "slope_mb_a_minute": 0.1,
        "spread_mb": 2.0,
        "at_sigterm": {"answered": 3},
        "taken_at_sigterm": 3,
    }
    assert soak.breaches(whole) == []
    for wrong in (
        {"crossed": 1},
        {"lost": 1},
        {"outcomes": {"answered": 9, "500": 1}},
        {"p99_s": 21.0},
        {"still_at_work": 1},
        {"slope_mb_a_minute": 5.0},
        {"at_sigterm": {"answered": 2, "502": 1}},
        {"taken_at_sigterm": 4},
    ):
        assert len(soak.breaches({**whole, **wrong})) == 1, wrong
    assert soak.breaches({**whole, "slope_mb_a_minute": 200.0, "seconds": 6.0}) == []  # it is not warm yet
    assert soak.slope([(t, 100.0 + t / 60) for t in range(0, 600, 5)])[0] == pytest.approx(1.0)
