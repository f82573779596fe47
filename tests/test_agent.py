"""The agent's loop, with a scripted policy in place of a model: what it shows, counts, and how it ends."""

# ruff: noqa: ARG001, ARG002 (a tool takes the view, a policy the conversation, whether or not it needs them)

import asyncio
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from PIL import Image

from agentic_vision import ConfigError, ImageError, PolicyError, View, VisionAgent, family, visual_tool
from agentic_vision.agent import DoneEvent, GlanceEvent, ObservationEvent, TurnEvent
from agentic_vision.graph import MAX_MALFORMED
from agentic_vision.messages import FailureKind, ProblemKind, StopReason, Trajectory
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policy import PromptStyle, Reply
from agentic_vision.prompts import LAST_TURN
from agentic_vision.protocol import write

FAMILY = family("qwen3-vl")
ANSWER = write(thought="I see it.", answer="417")
FULL = write(thought="Too small.", calls=[("full_res", {})])


def crop(*box, **more):
    return write(calls=[("zoom_crop", {"bbox_2d": list(box), **more})])


@pytest.fixture(scope="module")
def picture():
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def ask(replies, images, question="Which number?", **options):
    return VisionAgent(ScriptedPolicy(replies), **options).ask(images, question)


# What is shown


def test_a_direct_answer_costs_a_glance(picture):
    result = ask([ANSWER], picture)
    assert (result.answer, result.stop_reason) == ("417", StopReason.ANSWERED)
    glance = FAMILY.glance((1200, 900))
    assert result.usage.visual_tokens == glance.tokens <= result.usage.full_resolution_tokens / 4
    assert result.usage.full_resolution_tokens == glance.full_tokens
    assert result.usage.saved == 1 - glance.tokens / glance.full_tokens
    assert result.usage.requests == 1
    assert not result.usage.glance_floored


def test_a_call_brings_a_view_and_its_cost(picture):
    result = ask([FULL, ANSWER], picture)
    glance, full = result.trajectory.views
    assert full.size == FAMILY.full((1200, 900))
    assert result.usage.visual_tokens == FAMILY.tokens(glance.size) + FAMILY.tokens(full.size)
    assert [call.name for call in result.trajectory.calls] == ["full_res"]
    assert [seen.image for seen in result.trajectory.observations] == [1, 2]


def test_a_glance_below_the_familys_floor_is_said_in_the_usage():
    assert ask([ANSWER], Image.new("RGB", (300, 300))).usage.glance_floored


def test_several_calls_in_a_turn_look_at_what_was_shown_before_it(picture):
    turn = write(calls=[("full_res", {}), ("zoom_crop", {"bbox_2d": [0, 0, 500, 500]}), ("zoom", {})])
    result = ask([turn, ANSWER], picture)
    full, zoomed, unknown = result.trajectory.observations[1:]
    assert zoomed.view.box.as_tuple() == (0, 0, 600, 450)
    assert (full.image, zoomed.image, unknown.image) == (2, 3, None)
    assert unknown.failure.kind is FailureKind.UNKNOWN_TOOL


def test_a_crop_of_a_crop_is_cut_from_the_source(picture):
    result = ask([crop(0, 0, 500, 500), crop(500, 500, 1000, 1000), crop(0, 0, 250, 250, image=1), ANSWER], picture)
    assert [view.box.as_tuple() for view in result.trajectory.views[1:]] == [
        (0, 0, 600, 450),
        (300, 225, 600, 450),
        (0, 0, 300, 225),
    ]


def test_several_images_are_glanced_at_and_called_by_number(picture):
    other = Image.new("RGB", (700, 800), "red")
    result = ask([crop(0, 0, 500, 500, image=1), crop(0, 0, 500, 500, image=2), ANSWER], [picture, other])
    assert [view.source for view in result.trajectory.views] == [0, 1, 0, 1]
    sizes = [(1200, 900), (700, 800)]
    assert result.usage.full_resolution_tokens == sum(FAMILY.tokens(FAMILY.full(size)) for size in sizes)


def test_a_tool_may_answer_with_text(picture):
    @visual_tool
    async def count(view: View) -> str:
        """Count what is there."""
        await asyncio.sleep(0)
        return "three"

    result = ask([write(calls=[("count", {})]), ANSWER], picture, tools=[count])
    assert result.trajectory.observations[-1].text == "three"


# What the policy is told


def conversations(replies, images, style, **options):
    """What the policy is given before each of its turns."""
    seen = []

    def script(conversation):
        seen.append(conversation)
        return replies[len(seen) - 1]

    VisionAgent(ScriptedPolicy(script, style=style), **options).ask(images, "Which number?")
    return seen


@pytest.mark.parametrize("style", PromptStyle)
def test_messages_are_only_ever_appended_and_replies_kept_as_they_are(picture, style):
    seen = conversations([FULL, "nonsense", crop(0, 0, 9, 9), ANSWER], picture, style)
    for before, after in pairwise(seen):
        assert after.id == before.id
        assert after.messages[: len(before.messages)] == before.messages
    assert [message.role for message in seen[-1].messages if message.role != "system"] == [
        "user",
        *["assistant", "tool"] * 3,
    ]
    assert [message.text for message in seen[-1].messages if message.role == "assistant"] == [
        FULL,
        "nonsense",
        crop(0, 0, 9, 9),
    ]


def test_the_compact_style_says_nothing_beyond_what_the_checkpoint_was_trained_on(picture):
    seen = conversations([FULL, ANSWER], [picture, picture], PromptStyle.COMPACT)[-1]
    system, user, _, tool = seen.messages
    assert system.text == "Tools: zoom_crop, full_res, resize."
    assert [len(message.images) for message in seen.messages] == [0, 2, 0, 1]
    assert user.text == "Which number?"
    assert user.parts[-1].text == "Which number?"
    assert tool.text == ""


@pytest.mark.parametrize("turns", [2, 4])
def test_only_the_text_style_is_told_of_its_last_turn(picture, turns):
    replies = [FULL, crop(0, 0, 99, 99), crop(50, 50, 99, 99), ANSWER][-turns:]
    for style in PromptStyle:
        seen = conversations(replies, picture, style, max_turns=turns)
        told = [LAST_TURN in conversation.messages[-1].text for conversation in seen]
        assert told == [False] * (turns - 1) + [style is PromptStyle.TEXT]


def test_without_tools_there_is_no_word_of_them(picture):
    compact = conversations([ANSWER], picture, PromptStyle.COMPACT, tools=[])[0]
    text = conversations([ANSWER], picture, PromptStyle.TEXT, tools=[])[0]
    assert [message.role for message in compact.messages] == ["user"]
    assert "tool" not in text.messages[0].text
    assert text.tools == ()


def test_the_text_style_explains_the_tools_and_names_the_images(picture):
    seen = conversations([FULL, ANSWER], picture, PromptStyle.TEXT)[-1]
    assert all(name in seen.messages[0].text for name in ("zoom_crop", "bbox_2d", "0 to 1000", "<answer>", '"image"'))
    assert seen.messages[-1].text.startswith("Image 2, from full_res, 1216 x 896 pixels")
    assert [image.render().size for image in seen.images] == [image.view.size for image in seen.images]


# How it ends


def test_a_malformed_turn_is_reported_back_and_may_be_mended(picture):
    result = ask(["<answer></answer>", ANSWER], picture)
    assert result.answer == "417"
    turn, _ = result.trajectory.turns
    assert turn.problem.kind is ProblemKind.EMPTY_ANSWER
    assert result.trajectory.observations[-1].text == turn.problem.message


def test_too_many_malformed_turns_end_it(picture):
    result = ask(["417, I think"], picture, max_turns=9)
    assert (result.answer, result.stop_reason) == (None, StopReason.MALFORMED)
    assert len(result.trajectory.turns) == MAX_MALFORMED


def test_a_cut_reply_is_too_long(picture):
    result = ask([Reply(text="<think>Let me see", truncated=True), ANSWER], picture)
    assert result.trajectory.turns[0].problem.kind is ProblemKind.TOO_LONG


def test_the_turn_limit_ends_it_without_a_last_look(picture):
    result = ask([crop(0, 0, 500, 500), crop(0, 0, 400, 400), ANSWER], picture, max_turns=2)
    assert (result.answer, result.stop_reason) == (None, StopReason.TURN_LIMIT)
    assert len(result.trajectory.views) == 2


def test_the_same_call_is_made_once_and_asked_twice_in_a_row_ends_it(picture):
    result = ask([crop(0, 0, 500, 500, image=1)], picture, max_turns=9)
    assert result.stop_reason is StopReason.REPEATED_CALL
    _, first, second, third = result.trajectory.observations
    assert first.view is not None
    assert second.failure.kind is third.failure.kind is FailureKind.REPEATED


def test_a_view_that_was_shown_already_is_not_shown_again(picture):
    result = ask([FULL, FULL, ANSWER], picture)
    failure = result.trajectory.observations[-1].failure
    assert failure.kind is FailureKind.REPEATED
    assert "Image 2" in failure.message
    assert result.answer == "417"


def test_another_call_in_between_is_no_loop(picture):
    box = crop(0, 0, 500, 500, image=1)
    result = ask([box, box, crop(9, 9, 99, 99, image=1), box, ANSWER], picture, max_turns=9)
    assert result.stop_reason is StopReason.ANSWERED


def test_a_view_over_the_budget_is_refused_and_asked_for_again_ends_it(picture):
    glance = FAMILY.glance((1200, 900)).tokens
    result = ask([FULL, ANSWER], picture, max_visual_tokens=glance + 100)
    assert result.answer == "417"
    failure = result.trajectory.observations[-1].failure
    assert failure.kind is FailureKind.OVER_BUDGET
    assert "Answer with what you have seen" in failure.message
    assert result.usage.visual_tokens == glance

    result = ask([FULL, FULL, ANSWER], picture, max_visual_tokens=glance + 100)
    assert (result.answer, result.stop_reason) == (None, StopReason.TOKEN_BUDGET)


def test_the_glance_counts_and_shrinks_to_the_budget(picture):
    result = ask([ANSWER], [picture, picture], max_visual_tokens=200)
    assert result.answer == "417"
    assert 100 < result.usage.visual_tokens <= 200


def test_a_budget_below_the_cheapest_look_ends_it_at_once(picture):
    result = ask([ANSWER], picture, max_visual_tokens=3)
    assert (result.stop_reason, result.trajectory.steps) == (StopReason.TOKEN_BUDGET, ())
    assert "max_visual_tokens=3" in result.trajectory.detail


class Failing(ScriptedPolicy):
    """Fails with `error`, after `seconds`."""

    def __init__(self, error=None, seconds=0.0):
        super().__init__([ANSWER])
        self.error, self.seconds, self.forgotten = error, seconds, []

    async def reply(self, conversation, *, seed=None):
        await asyncio.sleep(self.seconds)
        if self.error:
            raise self.error
        return await super().reply(conversation, seed=seed)

    def forget(self, conversation_id):
        self.forgotten.append(conversation_id)


def test_a_policy_that_fails_is_a_result_with_its_reason(picture):
    policy = Failing(PolicyError("the endpoint is down"))
    result = VisionAgent(policy).ask(picture, "Which number?")
    assert (result.answer, result.stop_reason) == (None, StopReason.POLICY_FAILED)
    assert result.trajectory.detail == "the endpoint is down"
    assert policy.forgotten == [result.trajectory.id]


def test_an_empty_script_is_told(picture):
    with pytest.raises(ConfigError, match="the script is empty: give ScriptedPolicy one reply or more"):
        ask([], picture)


def test_the_deadline_ends_it(picture):
    started = time.perf_counter()
    result = VisionAgent(Failing(seconds=60), deadline=0.05).ask(picture, "Which number?")
    assert result.stop_reason is StopReason.DEADLINE
    assert time.perf_counter() - started < 30


def test_a_bug_of_the_policy_is_not_hidden(picture):
    with pytest.raises(ZeroDivisionError):
        VisionAgent(Failing(ZeroDivisionError())).ask(picture, "Which number?")


# Bad input


@pytest.mark.parametrize("question", ["", "  ", None])
def test_an_empty_question_is_refused(picture, question):
    with pytest.raises(ConfigError, match="question"):
        ask([ANSWER], picture, question)


def test_no_image_and_a_broken_one_are_refused():
    with pytest.raises(ConfigError, match="image"):
        ask([ANSWER], [])
    with pytest.raises(ImageError):
        ask([ANSWER], b"not an image")


@pytest.mark.parametrize(
    "options", [{"glance": 0}, {"glance": 1.5}, {"max_turns": 0}, {"max_visual_tokens": 0}, {"deadline": -1}]
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        VisionAgent(ScriptedPolicy([ANSWER]), **options)


def test_what_is_no_policy_is_refused():
    with pytest.raises(ConfigError, match="policy"):
        VisionAgent(object())


# The forms of asking


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
            await asyncio.sleep(0.01)
            running -= 1
            return Reply(text=ANSWER)

    assert len(VisionAgent(Slow([])).batch([(picture, "?")] * 9, concurrency=3)) == 9
    assert most == 3
    with pytest.raises(ConfigError, match="concurrency=0"):
        VisionAgent(Slow([])).batch([(picture, "?")], concurrency=0)


def test_a_seed_gives_each_question_its_own_and_the_same_question_the_same(picture):
    seeds = []

    class Recording(ScriptedPolicy):
        async def reply(self, conversation, *, seed=None):
            seeds.append(seed)
            return Reply(text=ANSWER, input_tokens=30, output_tokens=4)

    agent = VisionAgent(Recording([]), seed=7)
    usage = agent.ask(picture, "Which number?").usage
    for question, seed in (("Which number?", 8), ("Which number?", 7), ("Which color?", None)):
        agent.ask(picture, question, seed=seed)
    assert seeds[2] == seeds[0]
    assert len(set(seeds)) == 3
    VisionAgent(agent.policy).ask(picture, "Which number?")
    assert seeds[-1] is None
    assert (usage.input_tokens, usage.output_tokens) == (30, 4)


# The record


def test_a_trajectory_survives_json_and_replays_byte_for_byte(picture):
    shown = []

    def script(conversation):
        shown[:] = [image.render().tobytes() for image in conversation.images]
        return [FULL, crop(0, 0, 300, 300, image=1), ANSWER][len(shown) - 1]

    trajectory = VisionAgent(ScriptedPolicy(script)).ask(picture, "Which number?").trajectory
    again = Trajectory.model_validate_json(trajectory.model_dump_json())
    assert again == trajectory
    assert [image.tobytes() for image in again.replay([picture])] == shown
    with pytest.raises(ConfigError, match="not the one"):
        again.replay([Image.new("RGB", picture.size)])
    with pytest.raises(ConfigError, match="same images"):
        again.replay([])


def test_half_a_surrogate_pair_does_not_break_the_record(picture):
    trajectory = ask(["\ud800", write(answer="\udfff!")], picture, "Which \ud800?").trajectory
    assert Trajectory.model_validate_json(trajectory.model_dump_json()) == trajectory


numbers = st.integers(-(10**20), 10**20) | st.floats(-2000, 2000)
arguments = st.dictionaries(
    st.sampled_from(["bbox_2d", "image", "degrees", "contrast", "x"]),
    numbers | st.lists(numbers, max_size=5) | st.text(max_size=3) | st.none(),
    max_size=3,
)
names = st.sampled_from(["zoom_crop", "full_res", "resize", "rotate", "enhance", "zoom"])
said = st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "7", "<tool_call>", "\udc80"])
replies = st.builds(
    lambda calls, extra: write(calls=calls) + "".join(extra),
    st.lists(st.tuples(names, arguments), max_size=3),
    st.lists(said, max_size=4),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(replies, min_size=1, max_size=4), st.sampled_from(["qwen3-vl", "qwen2.5-vl", "llava-1.5"]))
def test_whatever_the_model_writes_is_a_result(script, name):
    policy = ScriptedPolicy(script, family=name)
    tools = ["zoom_crop", "full_res", "resize", "rotate", "enhance"]
    agent = VisionAgent(policy, tools=tools, max_turns=6, max_visual_tokens=3000, checkpointer=InMemorySaver())
    result = agent.ask(Image.new("RGB", (640, 480)), "Which number?")
    assert (result.answer is not None) == (result.stop_reason is StopReason.ANSWERED)
    assert result.usage.visual_tokens <= 3000
    assert Trajectory.model_validate_json(result.trajectory.model_dump_json()) == result.trajectory
    assert policy.conversations == {}


def test_the_trace_of_a_result_can_be_saved(picture, tmp_path):
    path = ask([FULL, ANSWER], picture).save_trace(tmp_path / "trace.html")
    assert "417" in path.read_text(encoding="utf-8")
