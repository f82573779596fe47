"""The difficulty filter: what is kept, what is dropped, and that nothing is answered twice."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from endpoints import Scripted, chat, failure
from typer.testing import CliRunner

from agentic_vision.cli import app
from agentic_vision.errors import ConfigError, PolicyError
from agentic_vision.judge import Judge
from agentic_vision.policy import Conversation, PromptStyle, Reply
from agentic_vision.protocol import write
from agentic_vision.rows import Row, Sufficient, read_rows
from agentic_vision.training import JudgeReward
from agentic_vision.training.data.difficulty import Difficulty, Measured, chosen, confirmed, measure, plot, summary
from agentic_vision.training.data.pocket_vqa import write_pocket_vqa
from agentic_vision.visual_tokens import Family, family


@pytest.mark.parametrize(
    ("glance", "full", "difficulty"),
    [
        (4, 4, Difficulty.DIRECT),
        (3, 0, Difficulty.DIRECT),
        (0, 4, Difficulty.NEEDS_CALL),
        (1, 3, Difficulty.NEEDS_CALL),
        (2, 4, Difficulty.CHANCE),
        (0, 2, Difficulty.CHANCE),
        (1, 1, Difficulty.UNANSWERED),
    ],
)
def test_difficulties(glance: int, full: int, difficulty: Difficulty) -> None:
    assert Measured("a", 4, glance, full).difficulty() is difficulty


class Sighted:
    """Answers right from as many visual tokens as the question says; fails after `lives` answers."""

    family: Family = family("pocket")
    style = PromptStyle.COMPACT

    def __init__(self, lives: int = 10**9) -> None:
        self.asked = 0
        self.lives = lives

    async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
        self.asked += 1
        if self.asked > self.lives:
            raise PolicyError("the endpoint is down")
        assert seed is not None
        seen = sum(self.family.tokens(part.view.size) for part in conversation.images)
        needed = int(conversation.messages[-1].text)
        return Reply(text=write(answer="yes" if seen >= needed else f"no {seed}"))

    def forget(self, conversation_id: str) -> None:
        pass


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    drawn = read_rows(write_pocket_vqa(tmp_path / "drawn", 6, 1).parent)
    full = [Sighted.family.tokens(Sighted.family.full((256, 256)))] * 6
    needs = [1, 1, full[0] // 2, full[0] // 2, 10**6, 10**6]
    return [
        row.model_copy(update={"question": str(need), "answer": "yes"}) for row, need in zip(drawn, needs, strict=True)
    ]


def test_it_keeps_what_teaches_when_to_look(rows: list[Row], tmp_path: Path) -> None:
    measured = measure(rows, Sighted(), tmp_path, n=2)
    assert [one.difficulty() for one in measured[:2]] == [Difficulty.DIRECT] * 2
    assert [one.difficulty() for one in measured[4:]] == [Difficulty.UNANSWERED] * 2
    assert summary(measured)["unanswered"] == 2
    kept = chosen(rows, measured, calls=None)
    assert [row.id for row, _ in kept[:2]] == [rows[0].id, rows[1].id]
    assert rows[4].id not in {row.id for row, _ in kept}


def test_it_goes_on_where_it_broke_off(rows: list[Row], tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="run this again"):
        measure(rows, Sighted(lives=30), tmp_path, n=16)  # 32 answers a question
    with (tmp_path / "answers.jsonl").open("a") as out:
        out.write('{"id": "x", "n"')  # a kill in the middle of a line
    whole = Sighted()
    first = measure(rows[:3], whole, tmp_path, n=1)
    again = Sighted()
    assert measure(rows[:3], again, tmp_path, n=1) == first
    assert again.asked == 0
    measure(rows, again, tmp_path, n=1)
    assert again.asked == 3 * 2


def test_it_does_not_go_on_with_what_was_asked_otherwise(rows: list[Row], tmp_path: Path) -> None:
    measure(rows[:2], Sighted(), tmp_path, n=2, told={"policy": "m"})
    for other in ({"n": 3}, {"glance": 0.5}, {"seed": 1}, {"told": {"policy": "m2"}}):
        with pytest.raises(ConfigError, match=f"begun with other settings .*{next(iter(other))[:1]}.* fresh folder"):
            measure(rows[:2], Sighted(), tmp_path, **{"n": 2, "told": {"policy": "m"}, **other})
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(ConfigError, match=r"settings\.json is missing or damaged: give a fresh folder"):
        measure(rows[:2], Sighted(), tmp_path, n=2, told={"policy": "m"})


def test_another_question_of_the_same_id_is_not_what_was_measured(rows: list[Row], tmp_path: Path) -> None:
    measure(rows[:2], Sighted(), tmp_path, n=1)
    image = Path(rows[0].images[0])
    moved = [rows[0].model_copy(update={"images": (str(shutil.copy(image, tmp_path / "moved.png")),)})]
    assert measure(moved, Sighted(lives=0), tmp_path, n=1)[0].id == rows[0].id
    shutil.copy(rows[1].images[0], tmp_path / "moved.png")
    with pytest.raises(ConfigError, match=r"or of other images, under the id"):
        measure(moved, Sighted(), tmp_path, n=1)
    other = rows[1].model_copy(update={"answer": "no"})
    with pytest.raises(ConfigError, match=f"under the id '{other.id}': give a fresh folder"):
        measure([rows[0], other], Sighted(), tmp_path, n=1)


def test_nobody_waits_for_the_slowest(rows: list[Row], tmp_path: Path) -> None:
    """One answer comes last of all, and the others are given meanwhile; what was opened is closed, in the one loop."""

    class Slow(Sighted):
        closed = 0

        def __init__(self) -> None:
            super().__init__()
            self.loops: set[int] = set()
            self.last = asyncio.Event()

        async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
            self.loops.add(id(asyncio.get_running_loop()))
            reply = await super().reply(conversation, seed=seed)
            if self.asked == 1:
                await asyncio.wait_for(self.last.wait(), 20)
            if self.asked == 24 * 2 * 8:
                self.last.set()
            return reply

        async def aclose(self) -> None:
            self.closed += 1

    many = [row.model_copy(update={"id": f"{row.id}-{copy}"}) for copy in range(4) for row in rows]
    policy = Slow()
    assert [one.id for one in measure(many, policy, tmp_path, n=8)] == [row.id for row in many]
    assert len(policy.loops) == 1
    assert policy.closed


def test_the_asked_share_of_calls() -> None:
    rows = [Row(id=str(n), images=("x",), question="?", answer="x") for n in range(12)]
    measured = [Measured(str(n), 1, glance=int(n < 9), full=1) for n in range(12)]  # 9 direct, 3 in need of a call
    kept = chosen(rows, measured, calls=0.25)
    assert [difficulty for _, difficulty in kept].count(Difficulty.NEEDS_CALL) == 3
    assert len(kept) == 12
    assert [difficulty for _, difficulty in chosen(rows, measured, calls=0.5)].count(Difficulty.DIRECT) == 3
    assert chosen(rows, measured, calls=0.5) == chosen(rows, measured, calls=0.5)
    with pytest.raises(ConfigError, match="share"):
        chosen(rows, measured, calls=2)


def test_the_difficulties_are_held_against_what_the_rows_say() -> None:
    def row(id: str, tool: str | None) -> Row:
        return Row(id=id, images=("x.png",), question="q", answer="a", sufficient=Sufficient(tool=tool))

    rows = [row("a", "zoom_crop"), row("b", "zoom_crop"), row("c", None), row("d", None)]
    measured = [Measured("a", 4, 0, 4), Measured("b", 4, 0, 0), Measured("c", 4, 0, 4), Measured("d", 4, 4, 4)]
    assert confirmed(rows, measured) == {"precision": 0.5, "recall": 0.5}
    assert confirmed([one.model_copy(update={"sufficient": None}) for one in rows], measured) is None


def test_the_picture(tmp_path: Path) -> None:
    path = plot([Measured("a", 4, 4, 4), Measured("b", 4, 0, 4)], tmp_path / "shares.png")
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_the_command_on_the_embedded_policy(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    write_pocket_vqa(tmp_path / "pocket", 8, 5)
    arguments = ["data", "difficulty", str(tmp_path / "pocket"), str(tmp_path / "out"), "--n", "2", "--json"]
    told = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert told["rows"] == 8 == sum(told[difficulty.value] for difficulty in Difficulty)
    assert (tmp_path / "out" / "shares.png").is_file()
    kept = read_rows(tmp_path / "out")
    assert len(kept) == told["kept"]
    assert set(told["confirmed"]) == {"precision", "recall"}


def test_no_verdict_of_a_judge_is_not_a_wrong_answer(rows: list[Row], tmp_path: Path) -> None:
    def right(request: dict[str, Any]) -> str:
        said = json.loads(request["messages"][1]["content"])
        return str(int(said["prediction"] == said["reference"]))

    def half(request: dict[str, Any]) -> Any:
        asked = json.loads(request["messages"][1]["content"])["question"]
        return failure(503) if asked == "1" else chat(right(request))

    def measured(answer: Any) -> list[Measured]:
        with Scripted([answer]).serving() as url:
            judge = Judge("j", base_url=url, api_key="k", patience=0)
            return measure(rows, Sighted(), tmp_path / "out", n=2, accuracy=JudgeReward(judge))

    found = measured(half)
    assert [one.id for one in found] == [row.id for row in rows[2:]]
    assert len(chosen(rows, found, calls=None)) == 2
    assert {one.id: one.difficulty() for one in measured(lambda request: chat(right(request)))} == {
        one.id: one.difficulty() for one in measure(rows, Sighted(), tmp_path / "exact", n=2)
    }
    many = [row.model_copy(update={"id": f"{row.id}-{copy}"}) for copy in range(30) for row in rows[:2]]
    with Scripted([failure(503)]).serving() as url:
        judge = Judge("j", base_url=url, api_key="k", patience=0)
        with pytest.raises(PolicyError, match="the last 32 questions have all had no verdict"):
            measure(many, Sighted(), tmp_path / "down", n=1, accuracy=JudgeReward(judge))


def test_two_runs_do_not_measure_into_one_file(rows: list[Row], tmp_path: Path) -> None:
    def progress(*_: int) -> None:
        with pytest.raises(ConfigError, match="another run is writing"):
            measure(rows, Sighted(), tmp_path, n=1)

    assert len(measure(rows, Sighted(), tmp_path, n=1, progress=progress)) == 6
