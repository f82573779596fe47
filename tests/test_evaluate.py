"""Evaluation: the same questions under several strategies, on a policy that reads only what it was shown."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from agentic_vision.errors import ConfigError, ImageError, PolicyError
from agentic_vision.evaluation import evaluate
from agentic_vision.evaluation.plots import plot_accuracy
from agentic_vision.evaluation.strategies import STRATEGIES, plan
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policy import Conversation, PromptStyle, Reply
from agentic_vision.protocol import write
from agentic_vision.rows import Row, Sufficient, read_rows
from agentic_vision.view import Box

SIZE = (192, 160)
EVIDENCE = (100.0, 100.0, 130.0, 112.0)


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """Ten questions, each with a picture of its own: even ones coarse, odd ones fine; read from a file."""
    lines = []
    for number in range(10):
        Image.new("RGB", SIZE, (number, 0, 0)).save(tmp_path / f"{number}.png")
        fine = number % 2 == 1
        row = {
            "id": f"row-{number}",
            "images": [f"{number}.png"],
            "question": f"Question {number}?",
            "answer": f"{number}",
            "kind": "fine" if fine else "coarse",
            "scene": "cards",
            "evidence": EVIDENCE,
            "sufficient": {"tool": "zoom_crop" if fine else None, "visual_tokens": 40},
        }
        lines.append(json.dumps(row))
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    return read_rows(tmp_path / "rows.jsonl")


def honest(conversation: Conversation) -> str:
    """Answers coarse questions at once; fine ones only after a view that shows the evidence at full detail.

    Decides by itself to look closer on every fine question but number 1, where it guesses.
    """
    asked = next(message for message in conversation.messages if message.role == "user")
    number = int(asked.text.split()[1].rstrip("?"))
    evidence = Box.of(EVIDENCE)
    views = [image.view for image in conversation.images]
    if number % 2 == 0 or any(view.detail >= 1 and view.box.contains(evidence) for view in views):
        return write(thought="I can see it.", answer=str(number))
    if conversation.tools and number != 1:
        return write(thought="Too small.", calls=[("zoom_crop", {"bbox_2d": [500, 600, 700, 720]})])
    return write(answer="no idea")


def policy() -> ScriptedPolicy:
    return ScriptedPolicy(honest, family="pocket", style=PromptStyle.COMPACT)


def logged(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "trajectories.jsonl").read_text().splitlines()]


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
    evaluate(rows, policy(), ["agent", "glance"], tmp_path / "out", batch_size=3)
    for strategy in ("agent", "glance"):
        asked = [line["row"] for line in logged(tmp_path / "out") if line["strategy"] == strategy]
        assert asked == [row.id for row in rows]


def test_the_coin_of_random_is_fixed_by_the_row_and_the_seed(rows: list[Row]) -> None:
    def tosses(seed: int) -> list[bool]:
        return [plan("random", row, size=SIZE, share=0.5, seed=seed).script is not None for row in rows]

    assert tosses(0) == tosses(0)
    assert len({tuple(tosses(seed)) for seed in range(8)}) > 1
    assert 20 < sum(sum(tosses(seed)) for seed in range(8)) < 60


@pytest.mark.parametrize("family", ["pocket", "qwen2.5-vl"])
def test_the_scripted_crop_is_written_in_the_familys_coordinates(rows: list[Row], tmp_path: Path, family: str) -> None:
    scripted = ScriptedPolicy(honest, family=family)
    summary = evaluate(rows[1:2], scripted, ["right_crop"], tmp_path / "out")
    assert summary.strategies["right_crop"].accuracy == 1


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
    first = len(logged_lines(out)) - 1
    seen: list[tuple[int, int]] = []
    summary = evaluate(
        rows,
        counted,
        ["glance", "full"],
        out,
        batch_size=4,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert first == 8
    assert seen[0] == (8, 20)
    assert seen[-1] == (20, 20)
    pairs = Counter((line["row"], line["strategy"]) for line in logged(out))
    assert set(pairs.values()) == {1}
    assert len(pairs) == 20
    assert sum(asked.values()) == 20  # nothing was asked twice
    assert summary.strategies["full"].n == 10
    again = evaluate(rows, counted, ["glance", "full"], out)
    assert again == summary
    assert sum(asked.values()) == 20


def logged_lines(out: Path) -> list[str]:
    return (out / "trajectories.jsonl").read_text().splitlines()


def test_a_folder_is_not_continued_with_another_policy(rows: list[Row], tmp_path: Path) -> None:
    evaluate(rows[:2], policy(), ["glance"], tmp_path / "out", name="one")
    with pytest.raises(ConfigError, match="other policy: give a fresh folder"):
        evaluate(rows[:2], policy(), ["glance"], tmp_path / "out", name="two")


def test_a_folder_with_broken_outcomes_is_told(rows: list[Row], tmp_path: Path) -> None:
    evaluate(rows[:1], policy(), ["glance"], tmp_path / "out")
    with (tmp_path / "out" / "trajectories.jsonl").open("a") as log:
        log.write("{}\n")
    with pytest.raises(ConfigError, match="no outcomes: give a fresh folder"):
        evaluate(rows[:1], policy(), ["glance"], tmp_path / "out")


def test_as_many_questions_are_asked_at_once_as_the_batch_is_large(rows: list[Row], tmp_path: Path) -> None:
    running = most = 0

    class Slow(ScriptedPolicy):
        async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1
            return await super().reply(conversation, seed=seed)

    many = [row.model_copy(update={"id": f"{row.id}-{copy}"}) for copy in range(2) for row in rows]
    evaluate(many, Slow(honest, family="pocket"), ["glance"], tmp_path / "out", batch_size=len(many))
    assert most == len(many) == 20
    with pytest.raises(ConfigError, match="batch_size=0"):
        evaluate(rows, policy(), ["glance"], tmp_path / "other", batch_size=0)


def test_a_policy_that_fails_is_not_scored_and_what_was_answered_is_kept(rows: list[Row], tmp_path: Path) -> None:
    def failing(conversation: Conversation) -> Reply:
        if conversation.messages[-1].text in ("Question 1?", "Question 3?"):
            raise PolicyError("the endpoint is down")
        return Reply(text="<answer>1</answer>")

    told = r"row-1 failed: the endpoint is down \(and 1 more\); what was answered is kept"
    with pytest.raises(PolicyError, match=told):
        evaluate(rows, ScriptedPolicy(failing, family="pocket"), ["glance"], tmp_path / "out", batch_size=5)
    assert [line["row"] for line in logged(tmp_path / "out")] == ["row-0", "row-2", "row-4"]
    evaluate(rows, policy(), ["glance"], tmp_path / "out", batch_size=5)
    assert sorted(str(line["row"]) for line in logged(tmp_path / "out")) == sorted(row.id for row in rows)


def test_what_a_strategy_needs_and_a_row_does_not_say_is_told_first(rows: list[Row], tmp_path: Path) -> None:
    bare = rows[0].model_copy(update={"evidence": None, "sufficient": None})
    with pytest.raises(ConfigError, match="'row-0' has no evidence box"):
        evaluate([bare], policy(), ["right_crop"], tmp_path / "out")
    with pytest.raises(ConfigError, match="'row-0' does not say which tool is sufficient"):
        evaluate([bare], policy(), ["oracle"], tmp_path / "out")
    outside = rows[0].model_copy(update={"evidence": (500, 500, 510, 510)})
    with pytest.raises(ConfigError, match="'row-0' has its evidence outside its first image"):
        evaluate([outside], policy(), ["right_crop"], tmp_path / "out")
    with pytest.raises(ConfigError, match="no strategy 'best': choose from glance"):
        evaluate(rows, policy(), ["best"], tmp_path / "out")
    missing = rows[0].model_copy(update={"images": (str(tmp_path / "gone.png"),)})
    with pytest.raises(ImageError, match=r"no file .*gone\.png"):
        evaluate([missing], policy(), ["glance"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_oracle_may_name_any_tool(rows: list[Row], tmp_path: Path) -> None:
    row = rows[1].model_copy(update={"sufficient": Sufficient(tool="full_res")})
    summary = evaluate([row], policy(), ["oracle"], tmp_path / "out")
    assert summary.strategies["oracle"].accuracy == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds no rows"),
        ("{", r"line 1, is no row"),
        ('{"id": "a", "images": [], "question": "q", "answer": "b"}', r"line 1, is no row \(images"),
        ('{"id": "a", "images": ["x"], "question": "q"}', r"line 1, is no row \(answer: field required"),
        (
            '{"id": "a", "images": ["x"], "question": "q", "answer": "b", "evidence": [9, 0, 9, 5]}',
            r"line 1, is no row \(evidence: value error, a box is x0, y0, x1, y1",
        ),
        ('{"id": 1, "images": ["x"], "question": "q", "answer": 2}\n' * 2, "line 2: the id '1' comes twice"),
    ],
)
def test_a_file_that_holds_no_rows_is_told_by_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        read_rows(path)


def test_a_file_that_cannot_be_there_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.jsonl", "x" * 300):
        with pytest.raises(ConfigError, match=r"cannot read .*give a JSONL file"):
            read_rows(path)


def test_a_folder_of_rows_is_as_good_as_their_file(rows: list[Row], tmp_path: Path) -> None:
    assert read_rows(tmp_path) == rows


def test_the_plot_has_a_point_for_each_strategy(rows: list[Row], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    summary = evaluate(rows, policy(), ["glance", "agent"], tmp_path / "out")
    with Image.open(plot_accuracy(summary, tmp_path / "out" / "accuracy.png")) as picture:
        assert picture.format == "PNG"
        assert picture.width > 3 * 400


def test_the_right_crop_holds_the_evidence_with_a_margin_on_a_coarse_grid(rows: list[Row]) -> None:
    script = plan("right_crop", rows[1], size=SIZE, share=0.5, seed=0).script
    assert script is not None
    assert script.box is not None
    # 192 / 15 = 12.8 pixels around (100, 100, 130, 112), in steps of 192 / 40 = 4.8 and 160 / 40 = 4 pixels.
    assert script.box.as_tuple() == pytest.approx((86.4, 88, 144, 124))
