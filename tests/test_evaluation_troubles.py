"""What goes wrong in an evaluation is recorded, counted and tried again; it is never a silent 0, and no row is lost."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import threading
from pathlib import Path

import pytest
from endpoints import Scripted, chat, failure
from evaluations import honest, logged, policy, ten_rows

from agentic_vision.errors import ConfigError, MisconfiguredError, PolicyError
from agentic_vision.evaluation import Summary, Trouble, evaluate
from agentic_vision.evaluation.figures import troubles
from agentic_vision.evaluation.folder import opened
from agentic_vision.evaluation.scoring import ByRule
from agentic_vision.judge import Judge
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policy import Conversation, Reply
from agentic_vision.report.evaluations import is_done
from agentic_vision.rows import Fault, Row
from agentic_vision.view import View


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    return ten_rows(tmp_path)


def counted(summary: Summary, strategy: str = "glance") -> tuple[int, dict[Trouble, int], float | None]:
    scores = summary.strategies[strategy]
    return scores.n, scores.trouble, scores.accuracy


def failing_on(*numbers: int) -> ScriptedPolicy:
    def reply(conversation: Conversation) -> Reply | str:
        if any(message.text == f"Question {number}?" for message in conversation.messages for number in numbers):
            raise PolicyError("the endpoint is down")
        return honest(conversation)

    return ScriptedPolicy(reply, family="pocket")


def test_images_that_are_gone_or_broken_are_recorded_and_found_again(rows: list[Row], tmp_path: Path) -> None:
    kept = {number: (tmp_path / f"{number}.png").read_bytes() for number in (2, 4)}
    (tmp_path / "2.png").unlink()
    (tmp_path / "4.png").write_bytes(kept[4][:20])
    summary = evaluate(rows, policy(), ["glance", "full"], tmp_path / "out")
    assert counted(summary) == (10, {Trouble.BAD_ROW: 2}, 3 / 8)  # 0, 6, 8 of the eight that could be asked
    assert summary.in_trouble == 4
    assert summary.against["full"]["glance"].n == 8
    told = {line["row"]: line["detail"] for line in logged(tmp_path / "out") if line["trouble"]}
    assert "2.png" in str(told["row-2"])
    assert "4.png" in str(told["row-4"])
    for number, data in kept.items():
        (tmp_path / f"{number}.png").write_bytes(data)
    summary = evaluate(rows, policy(), ["glance", "full"], tmp_path / "out")
    assert counted(summary) == (10, {}, 0.5)
    assert len(logged(tmp_path / "out")) == 20  # the lines in trouble have gone


def test_evidence_outside_the_image_is_the_rows_fault_alone(rows: list[Row], tmp_path: Path) -> None:
    rows[3] = rows[3].model_copy(update={"evidence": (500, 500, 510, 510)})
    summary = evaluate(rows, policy(), ["right_crop"], tmp_path / "out")
    assert counted(summary, "right_crop") == (10, {Trouble.BAD_ROW: 1}, 1)


def test_a_policy_that_fails_here_and_there_is_asked_again_by_the_next_run(rows: list[Row], tmp_path: Path) -> None:
    summary = evaluate(rows, failing_on(1, 2), ["glance"], tmp_path / "out")
    assert counted(summary) == (10, {Trouble.POLICY_FAILED: 2}, 4 / 8)
    assert {str(line["detail"]) for line in logged(tmp_path / "out") if line["trouble"]} == {"the endpoint is down"}
    assert counted(evaluate(rows, policy(), ["glance"], tmp_path / "out")) == (10, {}, 0.5)


def test_a_policy_that_answers_nothing_any_more_ends_it_and_what_was_answered_is_kept(
    rows: list[Row], tmp_path: Path
) -> None:
    many = rows[:2] + [row.model_copy(update={"id": f"{row.id}-{copy}"}) for copy in range(6) for row in rows[2:]]
    with pytest.raises(PolicyError, match=r"the last 32 questions have all failed \(the endpoint is down\)"):
        evaluate(many, failing_on(*range(2, 10)), ["glance"], tmp_path / "out", batch_size=1)
    lines = logged(tmp_path / "out")
    assert [line["row"] for line in lines if line["trouble"] is None] == ["row-0", "row-1"]
    assert len(lines) == 34 < len(many)
    summary = evaluate(many, policy(), ["glance"], tmp_path / "out")
    assert counted(summary) == (50, {}, 0.5)


def test_a_setting_that_no_question_can_succeed_with_ends_it_at_once(rows: list[Row], tmp_path: Path) -> None:
    def turned_away(_: Conversation) -> Reply:
        raise MisconfiguredError("the key is wrong")

    with pytest.raises(MisconfiguredError, match="the key is wrong"):
        evaluate(rows, ScriptedPolicy(turned_away, family="pocket"), ["glance"], tmp_path / "out")


def test_one_question_that_is_turned_away_like_a_wrong_setting_does_not_end_it(rows: list[Row], tmp_path: Path) -> None:
    def odd(conversation: Conversation) -> Reply | str:
        if conversation.messages[-1].text == "Question 4?":
            raise MisconfiguredError("images of this shape are not supported")
        return honest(conversation)

    summary = evaluate(rows, ScriptedPolicy(odd, family="pocket"), ["glance"], tmp_path / "out", batch_size=1)
    assert counted(summary) == (10, {Trouble.POLICY_FAILED: 1}, 4 / 9)


def test_a_judge_that_is_down_half_the_time_leaves_no_verdict_and_is_asked_alone_again(
    rows: list[Row], tmp_path: Path
) -> None:
    asked = 0

    def policy_replies(conversation: Conversation) -> str:
        nonlocal asked
        asked += 1
        return honest(conversation)

    def judging(request: dict[str, object]) -> object:
        said = json.loads(request["messages"][1]["content"])  # type: ignore[index]
        return chat(str(int(said["prediction"] == said["reference"])))

    def half(request: dict[str, object]) -> object:
        said = json.loads(request["messages"][1]["content"])  # type: ignore[index]
        return judging(request) if int(said["reference"]) % 4 < 2 else failure(503)

    def evaluated(replies: list[object]) -> Summary:
        with Scripted(replies).serving() as url:
            judge = Judge("j", base_url=url, api_key="k", patience=0)
            return evaluate(
                rows, ScriptedPolicy(policy_replies, family="pocket"), ["glance"], tmp_path / "out", scoring=judge
            )

    # 0, 1, 4, 5, 8 and 9 are judged: even ones are right.
    assert counted(evaluated([half])) == (10, {Trouble.NO_VERDICT: 4}, 0.5)
    summary = evaluated([judging])
    assert counted(summary) == (10, {}, 0.5)
    assert summary.strategies["glance"].visual_tokens_ratio is not None
    assert asked == 10


def test_errors_that_hold_half_a_character_are_kept_and_end_nothing(rows: list[Row], tmp_path: Path) -> None:
    def half(conversation: Conversation) -> Reply | str:
        if conversation.messages[-1].text == "Question 4?":
            raise ValueError("\ud83d\ude00 and \ud83d")
        return honest(conversation)

    faults = [Fault(line=3, id="\ud83d", reason="no \ud83d")]
    summary = evaluate(rows, ScriptedPolicy(half, family="pocket"), ["glance"], tmp_path / "out", faults=faults)
    assert counted(summary) == (10, {Trouble.POLICY_FAILED: 1}, 4 / 9)
    (failed,) = [line["detail"] for line in logged(tmp_path / "out") if line["trouble"]]
    assert str(failed).endswith("\N{GRINNING FACE} and \N{REPLACEMENT CHARACTER}")


def test_a_row_that_its_rule_cannot_score_costs_nothing_and_says_why(rows: list[Row], tmp_path: Path) -> None:
    asked = ScriptedPolicy(lambda _: pytest.fail("it is asked"), family="pocket")
    summary = evaluate(rows[:3], asked, ["glance"], tmp_path / "out", scoring="vqa")
    assert counted(summary) == (3, {Trouble.BAD_ROW: 3}, None)
    (line,) = troubles(summary)
    assert "glance: 3 bad row, not scored" in line
    assert "(the first: " in line
    assert "answers" in line


def test_a_judge_hears_the_options_as_the_model_did(rows: list[Row], tmp_path: Path) -> None:
    row = rows[0].model_copy(update={"question": "Which animal?", "answer": "B", "options": ("a cat", "a dog")})
    with (endpoint := Scripted([chat("1")])).serving() as url:
        judge, says = Judge("j", base_url=url, api_key="k"), ScriptedPolicy(["<answer>a dog</answer>"], family="pocket")
        assert evaluate([row], says, ["glance"], tmp_path / "out", scoring=judge).strategies["glance"].accuracy == 1
    said = json.loads(endpoint.requests[0]["messages"][1]["content"])
    assert said["question"] == "Which animal?\nA. a cat\nB. a dog"
    assert [outcome["question"] for outcome in logged(tmp_path / "out")] == [said["question"]]


def test_an_answer_that_a_rule_cannot_bear_has_no_verdict(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = ByRule.score

    async def weak(self: ByRule, row: Row, answer: str) -> tuple[float | None, str | None]:
        if row.id == "row-4":
            raise OverflowError("too long")
        return await score(self, row, answer)

    monkeypatch.setattr(ByRule, "score", weak)
    assert counted(evaluate(rows, policy(), ["glance"], tmp_path / "out")) == (10, {Trouble.NO_VERDICT: 1}, 4 / 9)
    assert {line["detail"] for line in logged(tmp_path / "out") if line["trouble"]} == {"OverflowError: too long"}
    monkeypatch.undo()
    assert counted(evaluate(rows, policy(), ["glance"], tmp_path / "out")) == (10, {}, 0.5)


def test_a_run_that_mended_what_was_in_trouble_is_done(rows: list[Row], tmp_path: Path) -> None:
    evaluate(rows, failing_on(1, 2), ["glance"], tmp_path / "out")
    os.utime(tmp_path / "out" / "summary.json", (0, 0))
    assert not is_done(tmp_path / "out")
    evaluate(rows, policy(), ["glance"], tmp_path / "out")
    assert is_done(tmp_path / "out")


def test_an_interrupted_run_holds_its_folder_until_its_questions_have_ended(rows: list[Row], tmp_path: Path) -> None:
    asked, let_go, free = threading.Event(), threading.Event(), threading.Event()

    class Lingering(ScriptedPolicy):
        async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
            asked.set()
            try:
                return await asyncio.sleep(60, await super().reply(conversation, seed=seed))
            finally:
                await asyncio.to_thread(let_go.wait, 20)
                asyncio.get_running_loop().call_later(0.3, free.set)

    def interrupt() -> None:
        asked.wait(20)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        evaluate(rows[:1], Lingering(honest, family="pocket"), ["glance"], tmp_path / "out")
    with pytest.raises(ConfigError, match="another run is writing"), opened(tmp_path / "out", {}):
        pass
    let_go.set()
    assert free.wait(20)
    with opened(tmp_path / "out", {}):
        pass


def test_a_damaged_folder_says_what_is_damaged_and_goes_on_from_what_is_whole(
    rows: list[Row], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    first = evaluate(rows, policy(), ["glance"], out)
    lines = (out / "trajectories.jsonl").read_bytes().splitlines(keepends=True)
    lines[3] = b"\xff\x00 was a line\n"
    lines[5] = lines[5][:200] + b"\n"
    (out / "trajectories.jsonl").write_bytes(b"".join(lines))
    (out / "settings.json").write_text("{")
    (out / "summary.json").write_text("{")
    asked = 0

    def counting(conversation: Conversation) -> str:
        nonlocal asked
        asked += 1
        return honest(conversation)

    with caplog.at_level(logging.WARNING):
        assert evaluate(rows, ScriptedPolicy(counting, family="pocket"), ["glance"], out) == Summary(
            **{**first.model_dump(), "strategies": evaluate(rows, policy(), ["glance"], out).strategies}
        )
    assert asked == 2
    assert "2 damaged lines" in caplog.text
    assert "settings.json is damaged" in caplog.text
    assert (out / "damaged.jsonl").read_bytes() == lines[3] + lines[5]
    assert json.loads((out / "settings.json").read_text())["glance"] == 0.25


def test_a_folder_is_not_continued_with_other_settings_or_other_rows(rows: list[Row], tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate(rows[:2], policy(), ["glance"], out, name="one")
    with pytest.raises(ConfigError, match=r"other settings \(policy='one', now 'two'\)"):
        evaluate(rows[:2], policy(), ["glance"], out, name="two")
    (out / "settings.json").unlink()
    with pytest.raises(ConfigError, match="other settings, under the id 'row-0'"):
        evaluate(rows[:2], policy(), ["glance"], out, name="two")
    (out / "settings.json").unlink()
    other = rows[0].model_copy(update={"question": "Another?"})
    with pytest.raises(ConfigError, match="another question"):
        evaluate([other], policy(), ["glance"], out, name="one")
    assert evaluate(rows, policy(), ["glance", "full"], out, name="one").n == 10  # more of the same is welcome
    own = tmp_path / "own"

    def half(view: View) -> View:
        """See it smaller."""
        return view.resized((28, 28))

    evaluate(rows[:1], policy(), ["glance"], own, name="one", tools=[half])
    assert json.loads((own / "settings.json").read_text())["tools"] == ["half"]  # in whatever process
    (tmp_path / "1.png").write_bytes((tmp_path / "2.png").read_bytes())
    with pytest.raises(ConfigError, match="other images under the id 'row-1'"):
        evaluate(rows, policy(), ["glance"], out, name="one")


def test_faults_of_the_data_are_in_the_summary(rows: list[Row], tmp_path: Path) -> None:
    fault = Fault(line=3, id="x", reason="no answer")
    assert evaluate(rows[:1], policy(), ["glance"], tmp_path / "out", faults=[fault]).faults == (fault,)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["faults"] == [fault.model_dump()]
