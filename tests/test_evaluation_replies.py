"""A second run on the same inputs costs nothing: what the policy said is found again, by content."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluations import honest, ten_rows

from agentic_vision.errors import ConfigError
from agentic_vision.evaluation import evaluate
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policy import Conversation, Reply


class Counting(ScriptedPolicy):
    """Counts what it is asked, also where it is made to answer."""

    def __init__(self) -> None:
        super().__init__(honest, family="pocket")
        self.asked = self.concluded = 0

    async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
        self.asked += 1
        return await super().reply(conversation, seed=seed)

    async def conclude(self, conversation: Conversation, *, seed: int | None = None) -> Reply:  # noqa: ARG002
        self.concluded += 1
        return Reply(text="<answer>no more turns</answer>")


def test_it_is_not_asked_the_same_again_in_any_folder(tmp_path: Path) -> None:
    rows, policy, memory = ten_rows(tmp_path), Counting(), tmp_path / "replies.sqlite"
    names = ["glance", "agent", "right_crop"]
    first = evaluate(rows, policy, names, tmp_path / "a", replies=memory)
    asked = policy.asked
    again = evaluate(rows, policy, names, tmp_path / "b", replies=memory)
    assert policy.asked == asked > 20
    for name in names:
        scores, before = again.strategies[name], first.strategies[name]
        assert (scores.accuracy, scores.visual_tokens_ratio) == (before.accuracy, before.visual_tokens_ratio)
        assert before.seconds_median is not None
        assert scores.seconds_median is None  # a reply from a cache took no time
    evaluate(rows, policy, names, tmp_path / "c", replies=memory, name="another policy")
    assert policy.asked == 2 * asked
    evaluate(rows, policy, ["glance"], tmp_path / "d", replies=memory, glance=0.3)
    assert policy.asked == 2 * asked + 10  # other pictures


class Named(Counting):
    """A policy that says which model it is, and how it is set."""

    def __init__(self, model: str, temperature: float = 0.0) -> None:
        super().__init__()
        self.model, self.settings = model, {"temperature": temperature}


def test_what_one_model_says_is_not_taken_for_anothers(tmp_path: Path) -> None:
    rows, memory = ten_rows(tmp_path), tmp_path / "replies.sqlite"
    policies = [Named("a"), Named("b"), Named("b", temperature=0.7)]
    for number, policy in enumerate(policies):
        evaluate(rows, policy, ["glance"], tmp_path / str(number), replies=memory)
    assert [policy.asked for policy in policies] == [10, 10, 10]


def test_a_policy_that_can_be_made_to_answer_still_can(tmp_path: Path) -> None:
    rows, policy, memory = ten_rows(tmp_path), Counting(), tmp_path / "replies.sqlite"
    for folder in "ab":
        summary = evaluate(rows, policy, ["agent", "oracle"], tmp_path / folder, replies=memory, max_turns=1)
        assert summary.strategies["agent"].no_answer == 0
    assert policy.concluded > 0
    asked = policy.concluded
    evaluate(rows, policy, ["agent", "oracle"], tmp_path / "c", replies=memory, max_turns=1)
    assert policy.concluded == asked


def test_a_file_that_is_no_memory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello, this is not a database at all" * 100)
    for path in (tmp_path / "notes.txt", tmp_path):
        with pytest.raises(ConfigError, match="cannot keep replies"):
            evaluate(ten_rows(tmp_path), Counting(), ["glance"], tmp_path / "out", replies=path)
