"""Evaluation: the same questions under several strategies, on a policy that reads only what it was shown."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
from evaluations import honest, logged, policy, ten_rows

from agentic_vision.errors import ConfigError
from agentic_vision.evaluation import evaluate
from agentic_vision.evaluation.strategies import STRATEGIES
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policy import Conversation, Reply
from agentic_vision.rows import Row, Sufficient


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    return ten_rows(tmp_path)


def test_each_strategy_sees_what_it_should(rows: list[Row], tmp_path: Path) -> None:
    summary = evaluate(rows, policy(), STRATEGIES, tmp_path / "out", batch_size=4)
    scores = summary.strategies
    assert list(scores) == list(STRATEGIES)
    assert all(figures.accuracy_coarse == 1 for figures in scores.values())
    fine = {name: figures.accuracy_fine for name, figures in scores.items()}
    assert fine | {"random": None} == {
        "glance": 0,
        "full": 1,
        "resize": 0,
        "right_crop": 1,
        "random": None,
        "agent": 0.8,
        "oracle": 1,
    }
    ratio = {name: figures.visual_tokens_ratio or 0 for name, figures in scores.items()}
    assert ratio["full"] == 1
    assert ratio["glance"] <= 0.25 < ratio["oracle"] < ratio["right_crop"] < ratio["full"]
    assert ratio["glance"] < ratio["resize"] <= 0.5
    calls = {name: (figures.call_ratio_coarse, figures.call_ratio_fine) for name, figures in scores.items()}
    assert calls["glance"] == calls["full"] == calls["resize"] == (0, 0)
    assert calls["agent"] == (0, 0.8)
    assert calls["oracle"] == (0, 1)
    assert calls["right_crop"] == (1, 1)
    agent = scores["agent"]
    assert (agent.calls, agent.malformed, agent.box_covers_evidence) == (4, 0, 1)
    assert (scores["right_crop"].calls, scores["right_crop"].malformed) == (0, None)
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary.model_dump(mode="json")


def test_all_strategies_ask_the_same_questions_in_the_same_order(rows: list[Row], tmp_path: Path) -> None:
    evaluate(rows, policy(), ["agent", "glance"], tmp_path / "out", batch_size=1)
    for strategy in ("agent", "glance"):
        asked = [line["row"] for line in logged(tmp_path / "out") if line["strategy"] == strategy]
        assert asked == [row.id for row in rows]


@pytest.mark.parametrize("family", ["pocket", "qwen2.5-vl"])
def test_the_scripted_crop_is_written_in_the_familys_coordinates(rows: list[Row], tmp_path: Path, family: str) -> None:
    scripted = ScriptedPolicy(honest, family=family)
    summary = evaluate(rows[1:2], scripted, ["right_crop"], tmp_path / "out")
    assert summary.strategies["right_crop"].accuracy == 1


def test_each_row_has_its_own_script_also_where_all_else_is_the_same(rows: list[Row], tmp_path: Path) -> None:
    boxes = [(100.0, 100.0, 130.0, 112.0), (10.0, 10.0, 40.0, 22.0)]
    alike = [rows[1].model_copy(update={"id": str(box), "evidence": box}) for box in boxes]
    evaluate(alike, policy(), ["right_crop"], tmp_path / "out", batch_size=2)
    cropped = {
        line["row"]: next(step["view"]["box"] for step in line["trajectory"]["steps"] if step.get("call"))  # type: ignore[index]
        for line in logged(tmp_path / "out")
    }
    for box in boxes:
        found = cropped[str(box)]
        assert (found["x0"] <= box[0], found["y0"] <= box[1], found["x1"] >= box[2]) == (True, True, True)


def test_a_killed_run_goes_on_where_it_stopped(rows: list[Row], tmp_path: Path) -> None:
    asked: Counter[str] = Counter()

    def counting(conversation: Conversation) -> str:
        asked[conversation.messages[-1].text] += 1
        return honest(conversation)

    class KilledError(Exception):
        pass

    def kill(done: int, _: int) -> None:
        if done >= 8:
            raise KilledError

    out = tmp_path / "out"
    counted = ScriptedPolicy(counting, family="pocket")
    with pytest.raises(KilledError):
        evaluate(rows, counted, ["glance", "full"], out, batch_size=4, progress=kill)
    with (out / "trajectories.jsonl").open("a") as log:
        log.write('{"row": "row-4", "stra')  # the kill came in the middle of a line
    first = len((out / "trajectories.jsonl").read_text().splitlines()) - 1
    seen: list[tuple[int, int]] = []
    summary = evaluate(
        rows,
        counted,
        ["glance", "full"],
        out,
        batch_size=4,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert 8 <= first < 8 + 4  # others may have come back in the same moment
    assert seen[0] == (first, 20)
    assert seen[-1] == (20, 20)
    pairs = Counter((line["row"], line["strategy"]) for line in logged(out))
    assert set(pairs.values()) == {1}
    assert len(pairs) == 20
    in_all = sum(asked.values())
    assert in_all < 20 + 4  # nothing but what was in flight was asked twice
    assert summary.strategies["full"].n == 10
    again = evaluate(rows, counted, ["glance", "full"], out)
    assert again == summary
    assert sum(asked.values()) == in_all


def test_as_many_questions_are_asked_at_once_as_the_batch_is_large(rows: list[Row], tmp_path: Path) -> None:
    running = most = 0

    class Slow(ScriptedPolicy):
        async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.2)
            running -= 1
            return await super().reply(conversation, seed=seed)

    many = [row.model_copy(update={"id": f"{row.id}-{copy}"}) for copy in range(2) for row in rows]
    evaluate(many, Slow(honest, family="pocket"), ["glance"], tmp_path / "out", batch_size=len(many))
    assert most == len(many) == 20
    with pytest.raises(ConfigError, match="batch_size=0"):
        evaluate(rows, policy(), ["glance"], tmp_path / "other", batch_size=0)


def test_an_oracle_may_name_any_tool(rows: list[Row], tmp_path: Path) -> None:
    row = rows[1].model_copy(update={"sufficient": Sufficient(tool="full_res")})
    summary = evaluate([row], policy(), ["oracle"], tmp_path / "out")
    assert summary.strategies["oracle"].accuracy == 1
