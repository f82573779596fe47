"""A best answer where a limit would leave none, and what the model says while it says it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from scripted_agent import FAMILY, FULL, crop

from agentic_vision import VisionAgent
from agentic_vision.cli_output import show_result
from agentic_vision.limits import MAX_MALFORMED, Limits
from agentic_vision.messages import StopReason, Turn
from agentic_vision.policies.concluding import concluded
from agentic_vision.policies.embedded import EmbeddedPolicy
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policies.transformers import TransformersPolicy
from agentic_vision.policy import Reply
from agentic_vision.result import TextEvent
from agentic_vision.trace import trace_html

RECEIPT = Path(__file__).parent.parent / "examples" / "receipt.png"


class Pressed(ScriptedPolicy):
    """Goes on as long as it may, and answers when it is made to."""

    def __init__(self, replies, answer="<answer>417</answer>"):
        super().__init__(replies)
        self.answer, self.pressed = answer, 0

    async def conclude(self, conversation, *, seed=None):  # noqa: ARG002
        self.pressed += 1
        return Reply(text=self.answer, input_tokens=5, output_tokens=3)


def ask(policy, picture, **options):
    return VisionAgent(policy, **options).ask(picture, "Which number?")


def test_at_the_turn_limit_the_last_reply_becomes_an_answer(picture):
    policy = Pressed([Reply(text=FULL, input_tokens=10, output_tokens=2)])
    result = ask(policy, picture, max_turns=1)
    assert (result.answer, result.stop_reason) == ("417", StopReason.TURN_LIMIT)
    (turn,) = result.trajectory.turns
    assert (turn.requests, turn.input_tokens, turn.output_tokens) == (2, 15, 5)
    assert (result.usage.requests, policy.pressed) == (2, 1)


def test_a_model_that_cannot_write_the_protocol_is_made_to_answer(picture):
    result = ask(Pressed(["417, I think"]), picture, max_turns=9)
    assert (result.answer, result.stop_reason) == ("417", StopReason.MALFORMED)
    assert len(result.trajectory.turns) == MAX_MALFORMED


def test_a_model_that_repeats_itself_is_made_to_answer(picture):
    result = ask(Pressed([crop(0, 0, 500, 500, image=1)]), picture, max_turns=9)
    assert (result.answer, result.stop_reason) == ("417", StopReason.REPEATED_CALL)
    assert len(result.trajectory.turns) == 4


def test_where_nothing_more_can_be_shown_it_is_made_to_answer_at_once(picture):
    glance = FAMILY.glance((1200, 900)).tokens
    result = ask(Pressed([FULL]), picture, max_visual_tokens=glance + 1)
    assert (result.answer, result.stop_reason) == ("417", StopReason.TOKEN_BUDGET)
    assert len(result.trajectory.turns) == 2
    result = ask(Pressed([FULL, crop(0, 0, 100, 100), "<answer>1</answer>"]), picture, max_visual_tokens=glance + 100)
    assert (result.answer, result.stop_reason) == ("1", StopReason.ANSWERED)


def test_who_answers_by_himself_is_not_pressed(picture):
    policy = Pressed([FULL, "<answer>418</answer>"])
    result = ask(policy, picture, max_turns=2)
    assert (result.answer, result.stop_reason, policy.pressed) == ("418", StopReason.ANSWERED, 0)


def test_who_does_not_answer_even_then_has_no_answer(picture):
    result = ask(Pressed([FULL], answer=FULL), picture, max_turns=1)
    assert (result.answer, result.stop_reason) == (None, StopReason.TURN_LIMIT)
    assert result.trajectory.turns[0].calls


def test_what_it_cost_to_ask_for_an_answer_that_did_not_come_is_counted(picture):
    first = Reply(text=FULL, input_tokens=10, output_tokens=2)
    usage = ask(Pressed([first], answer=""), picture, max_turns=1).usage
    assert (usage.requests, usage.input_tokens, usage.output_tokens) == (2, 15, 5)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("417", "417"),
        ("<think>It says 417.</think>417", "417"),
        ("It says 417.</think> 417", "417"),
        ("<answer>417", "417"),
        ("<answer>471</answer> no: <answer>417</answer>", "417"),
        ('<tool_call>{"name": "full_res", "arguments": {}}</tool_call><answer>417</answer>', "417"),
        ('<think>x</think>417 <tool_call>{"name": "full_res", "arg', "417"),
        ("<think>It could be 417 or maybe I should", None),
        ('<tool_call>{"name": "zoom_crop", "arguments": {"bbox_2d": [1, 2, 3, 4}}</tool_call>', None),
        ('<tool_call>{"name": "zoom_crop", "argu', None),
        ("<think>x</think><answer></answer>", None),
    ],
)
def test_of_a_last_reply_only_what_is_said_in_answer_is_the_answer(picture, said, answer):
    class Wordy(Pressed):
        async def conclude(self, conversation, *, seed=None):
            reply = await super().conclude(conversation, seed=seed)
            return concluded(reply.model_copy(update={"truncated": True}))

    result = ask(Wordy([FULL], answer=said), picture, max_turns=1)
    assert (result.answer, result.stop_reason) == (answer, StopReason.TURN_LIMIT)


def test_the_last_turn_begins_while_there_is_time_for_it():
    limits = Limits(deadline=10.0)
    slow = [Turn(text="", seconds=2.0)]
    assert limits.hurry(0.0, []) is None
    assert limits.hurry(4.0, slow) is None
    assert limits.hurry(6.0, slow) is StopReason.DEADLINE
    assert Limits().hurry(1e9, slow) is None


def test_a_policy_that_cannot_be_pressed_has_until_the_deadline(picture):
    class Slow(ScriptedPolicy):
        async def reply(self, conversation, *, seed=None):
            await asyncio.sleep(0.1)
            return await super().reply(conversation, seed=seed)

    started = time.perf_counter()
    result = ask(Slow([FULL, crop(0, 0, 99, 99), "<answer>417</answer>"]), picture, deadline=30.0)
    assert (result.answer, result.stop_reason) == ("417", StopReason.ANSWERED)
    assert time.perf_counter() - started < 30


def test_people_are_told_that_it_was_made_to_answer(picture, capsys):
    result = ask(Pressed([FULL]), picture, max_turns=1)
    show_result(result.trajectory, None)
    said = capsys.readouterr().out
    assert said.startswith("417\n")
    assert "made to answer: no answer in 1 turns" in said
    assert "made to answer: the turn limit was reached" in trace_html(result.trajectory, [picture])


# Local weights


@pytest.fixture(scope="module")
def embedded():
    return EmbeddedPolicy.load()


def test_the_embedded_weights_can_be_made_to_answer(embedded):
    result = VisionAgent(embedded, max_turns=1).ask(RECEIPT, "What is the total?")
    assert result.stop_reason is StopReason.TURN_LIMIT
    assert result.answer
    (turn,) = result.trajectory.turns
    assert (turn.thought, turn.requests) == ("I must answer now.", 2)


def test_an_answer_that_is_cut_is_an_answer(folders):
    weights = TransformersPolicy.load(folders["qwen3_vl"], device="cpu", max_new_tokens=5)
    result = VisionAgent(weights, max_turns=1).ask(RECEIPT, "What is the total?")
    assert result.stop_reason is StopReason.TURN_LIMIT
    assert result.trajectory.turns[0].text.startswith("<think>I must answer now.</think><answer>")
    assert result.answer


def test_what_they_say_is_heard_while_they_say_it_and_a_listener_may_leave(embedded):
    agent = VisionAgent(embedded)
    happened = list(agent.stream(RECEIPT, "What is the total?", text=True))
    pieces = [event.text for event in happened if isinstance(event, TextEvent)]
    assert "".join(pieces) == "".join(turn.text for turn in happened[-1].result.trajectory.turns)
    assert len(pieces) > 20
    silent = list(agent.stream(RECEIPT, "What is the total?"))
    assert not any(isinstance(event, TextEvent) for event in silent)
    assert silent[-1].result.answer == happened[-1].result.answer

    stream = agent.stream(RECEIPT, "What is the total?", text=True)
    next(event for event in stream if isinstance(event, TextEvent))
    stream.close()
    assert agent.ask(RECEIPT, "What is the total?").answer == happened[-1].result.answer
