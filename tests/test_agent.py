"""The agent's loop, with a scripted policy in place of a model: what it shows, counts, and how it ends."""

# ruff: noqa: ARG001 (a tool takes the view, a policy the conversation, whether or not it needs them)

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from PIL import Image
from scripted_agent import ANSWER, FAMILY, FULL, ask, crop

from agentic_vision import ConfigError, View, VisionAgent, visual_tool
from agentic_vision.messages import FailureKind, StopReason, Trajectory
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policy import PromptStyle
from agentic_vision.prompts import LAST_TURN
from agentic_vision.protocol import write

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
def test_all_but_the_compact_style_are_told_of_their_last_turn(picture, turns):
    replies = [FULL, crop(0, 0, 99, 99), crop(50, 50, 99, 99), ANSWER][-turns:]
    for style in PromptStyle:
        seen = conversations(replies, picture, style, max_turns=turns)
        told = [LAST_TURN in conversation.messages[-1].text for conversation in seen]
        assert told == [False] * (turns - 1) + [style is not PromptStyle.COMPACT]


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
