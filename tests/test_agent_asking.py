"""The forms of asking: streamed, at once or side by side, inside a running loop; and what one seed does."""

# ruff: noqa: ARG001, ARG002 (a tool takes the view, a policy the conversation, whether or not it needs them)

import asyncio
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image
from scripted_agent import ANSWER, FULL, Failing, ask

from agentic_vision import ConfigError, View, VisionAgent, visual_tool
from agentic_vision.agent import DoneEvent, GlanceEvent, ObservationEvent, TurnEvent
from agentic_vision.messages import StopReason
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policy import Reply
from agentic_vision.protocol import write
from agentic_vision.source import Source


def test_a_stream_tells_what_happens_as_it_happens(picture):
    agent = VisionAgent(ScriptedPolicy([FULL, ANSWER]))
    events = list(agent.stream(picture, "Which number?"))
    kinds = [GlanceEvent, TurnEvent, ObservationEvent, TurnEvent, DoneEvent]
    assert [type(event) for event in events] == kinds
    steps = tuple(getattr(event, "turn", None) or event.observation for event in events[:-1])
    assert events[-1].result.trajectory.steps == steps


def test_a_stream_that_is_left_early_is_cleaned_up(picture):
    policy = Failing()
    stream = VisionAgent(policy).stream(picture, "Which number?")
    next(stream)
    stream.close()
    assert len(policy.forgotten) == 1


def test_ask_works_where_a_loop_is_running(picture):
    async def notebook():
        return ask([ANSWER], picture).answer

    assert asyncio.run(notebook()) == "417"


def test_ask_inside_the_agents_own_loop_says_what_to_use_instead(picture):
    @visual_tool
    async def nested(view: View) -> str:
        """Ask another agent, the wrong way."""
        return ask([ANSWER], picture).answer or ""

    failure = ask([write(calls=[("nested", {})]), ANSWER], picture, tools=[nested]).trajectory.observations[-1].failure
    assert "async form" in failure.message


def test_a_batch_keeps_the_order_and_outlives_its_failures(picture):
    def script(conversation):
        return write(answer=next(message.text for message in conversation.messages if message.role == "user"))

    agent = VisionAgent(ScriptedPolicy(script))
    rows = [(picture, "one"), (b"broken", "two"), ([picture, picture], "three"), (picture, "")]
    results = agent.batch(rows, concurrency=2)
    assert [result.answer for result in results] == ["one", None, "three", None]
    assert [result.stop_reason for result in results[1::2]] == [StopReason.POLICY_FAILED] * 2
    assert "not an image" in results[1].trajectory.detail
    assert "question" in results[3].trajectory.detail


def test_a_picture_that_pillow_has_not_read_yet_may_be_asked_about_many_times_at_once(tmp_path):
    rng = random.Random(0)
    Image.frombytes("RGB", (600, 400), rng.randbytes(600 * 400 * 3)).save(tmp_path / "noise.png")
    with Image.open(tmp_path / "noise.png") as unread:
        results = VisionAgent(ScriptedPolicy([ANSWER])).batch([(unread, f"Which {n}?") for n in range(24)])
    digests = {result.trajectory.sources[0].digest for result in results}
    with Image.open(tmp_path / "noise.png") as read:
        assert digests == {Source.open(read).digest}
    assert {result.answer for result in results} == {"417"}


def test_rows_that_cannot_be_had_are_told_before_anything_is_asked(picture):
    def rows():
        yield picture, "one"
        raise ValueError("no more rows")

    policy = ScriptedPolicy([ANSWER])
    with pytest.raises(ValueError, match="no more rows"):
        VisionAgent(policy).batch(rows())
    assert not policy.conversations
    (failed,) = VisionAgent(policy).batch([("none.png", "what \ud83d?")])
    assert type(failed.trajectory).model_validate_json(failed.trajectory.model_dump_json()) == failed.trajectory


def test_a_file_that_does_not_come_holds_up_nobody_else(picture, tmp_path):
    os.mkfifo(tmp_path / "slow.png")
    agent = VisionAgent(ScriptedPolicy([ANSWER]))
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(agent.ask, tmp_path / "slow.png", "Which number?")
        time.sleep(0.05)
        assert agent.ask(picture, "Which number?").answer == "417"
        assert not waiting.done()
        picture.save(tmp_path / "picture.png")
        (tmp_path / "slow.png").write_bytes((tmp_path / "picture.png").read_bytes())
        assert waiting.result(timeout=10).answer == "417"


def test_a_row_that_is_no_pair_fails_alone_and_is_told_what_a_row_is(picture):
    rows = [(picture, "?"), (picture,), "??", {"image": picture, "question": "?"}, (picture, "?", 1), [picture, "?"]]
    results = VisionAgent(ScriptedPolicy([ANSWER])).batch(rows)
    assert [result.answer for result in results] == ["417", None, None, None, None, "417"]
    for result, what in zip(results[1:5], ["tuple of 1", "str", "dict", "tuple of 3"], strict=True):
        assert result.stop_reason is StopReason.POLICY_FAILED
        told = f"a row is a pair (image or list of images, question) and this one is a {what}: give both"
        assert result.trajectory.detail == told


def test_a_batch_asks_side_by_side_but_not_more_than_allowed(picture):
    running, most = 0, 0

    class Slow(ScriptedPolicy):
        async def reply(self, conversation, *, seed=None):
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.1)
            running -= 1
            return Reply(text=ANSWER)

    assert len(VisionAgent(Slow([ANSWER])).batch([(picture, "?")] * 9, concurrency=3)) == 9
    assert most == 3
    with pytest.raises(ConfigError, match="concurrency=0"):
        VisionAgent(Slow([ANSWER])).batch([(picture, "?")], concurrency=0)


def test_a_seed_gives_each_question_its_own_and_the_same_question_the_same(picture):
    seeds = []

    class Recording(ScriptedPolicy):
        async def reply(self, conversation, *, seed=None):
            seeds.append(seed)
            return Reply(text=ANSWER, input_tokens=30, output_tokens=4)

    agent = VisionAgent(Recording([ANSWER]), seed=7)
    usage = agent.ask(picture, "Which number?").usage
    for question, seed in (("Which number?", 8), ("Which number?", 7), ("Which color?", None)):
        agent.ask(picture, question, seed=seed)
    assert seeds[2] == seeds[0]
    assert len(set(seeds)) == 3
    VisionAgent(agent.policy).ask(picture, "Which number?")
    assert seeds[-1] is None
    assert (usage.input_tokens, usage.output_tokens) == (30, 4)
