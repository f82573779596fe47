"""The text protocol: every reply is a turn, and every malformed one says what was wrong."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_vision.messages import ProblemKind
from agentic_vision.protocol import MAX_CALLS, MAX_CHARS, TAGS, parse, write

CALL = '<tool_call>{"name": "full_res", "arguments": {}}</tool_call>'


def test_a_call_with_its_thought():
    turn = parse(
        '<think>It is too small to read here.</think><tool_call>{"name": "zoom_crop", "arguments": '
        '{"bbox_2d": [125, 350, 500, 725]}}</tool_call>'
    )
    assert turn.thought == "It is too small to read here."
    assert [(call.name, call.arguments) for call in turn.calls] == [("zoom_crop", {"bbox_2d": [125, 350, 500, 725]})]
    assert turn.answer is None
    assert turn.problem is None


def test_an_answer_with_its_thought():
    turn = parse("<think>I can see it.</think>\n<answer> 417 </answer>")
    assert (turn.thought, turn.answer, turn.calls) == ("I can see it.", "417", ())


def test_several_calls_in_one_turn_have_ids_of_their_own():
    assert [call.id for call in parse(CALL + "and" + CALL, first_call=3).calls] == ["call_3", "call_4"]


def test_a_call_may_leave_its_arguments_out():
    assert parse('<tool_call>{"name": "full_res"}</tool_call>').calls[0].arguments == {}


def test_calls_inside_a_thought_are_thoughts():
    turn = parse(f"<think>I could write {CALL}</think><answer>5</answer>")
    assert (turn.answer, turn.calls) == ("5", ())


def test_a_reply_that_starts_inside_the_thought_that_its_template_opened():
    turn = parse("maybe <answer>3</answer>?</think><answer>5</answer>")
    assert (turn.answer, turn.thought) == ("5", "maybe <answer>3</answer>?")


def test_a_thought_that_never_ends_does_not_swallow_the_answer():
    assert parse("<think>hm <answer>5</answer>").answer == "5"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<tool_call>{name: full_res}</tool_call>", ProblemKind.BAD_JSON),
        ("<tool_call></tool_call>", ProblemKind.BAD_JSON),
        ('<tool_call>{"name": "a", "arguments": {"x": NaN}}</tool_call>', ProblemKind.BAD_JSON),
        ('<tool_call>{"name": "a", "arguments": {"x": 1e999}}</tool_call>', ProblemKind.BAD_JSON),
        ('<tool_call>{"name": "a", "arguments": ' + "9" * 5000 + "}</tool_call>", ProblemKind.BAD_JSON),
        ('<tool_call>{"name": "a", "arguments": {"x": "\\ud800"}}</tool_call>', ProblemKind.BAD_JSON),
        ("<tool_call>" + "[" * 50_000 + "</tool_call>", ProblemKind.BAD_JSON),
        (
            '<tool_call>{"name": "a", "arguments": {"x": ' + "[" * 99 + "]" * 99 + "}}</tool_call>",
            ProblemKind.BAD_JSON,
        ),
        (
            '<tool_call>{"name": "a", "arguments": {"x": 99999999999999999999}}</tool_call>',
            ProblemKind.BAD_JSON,
        ),
        ("<tool_call>[1, 2]</tool_call>", ProblemKind.BAD_CALL),
        ('<tool_call>{"arguments": {}}</tool_call>', ProblemKind.BAD_CALL),
        ('<tool_call>{"name": "a", "arguments": [1]}</tool_call>', ProblemKind.BAD_CALL),
        ('<tool_call>{"name": "a", "bbox_2d": [1, 2, 3, 4]}</tool_call>', ProblemKind.BAD_CALL),
        ('<think>x</think><tool_call>{"name": "full_res"}', ProblemKind.UNCLOSED_CALL),
        ("<answer>5", ProblemKind.UNCLOSED_ANSWER),
        (f"{CALL}<answer>5</answer>", ProblemKind.CALL_AND_ANSWER),
        ("<answer>5</answer><answer>6</answer>", ProblemKind.TWO_ANSWERS),
        ("<answer>5<answer>6</answer>", ProblemKind.TWO_ANSWERS),
        ("<answer> \n</answer>", ProblemKind.EMPTY_ANSWER),
        ("The total is 5.", ProblemKind.NO_ACTION),
        ("", ProblemKind.NO_ACTION),
        (CALL * (MAX_CALLS + 1), ProblemKind.TOO_LONG),
        ("x" * (MAX_CHARS + 1), ProblemKind.TOO_LONG),
    ],
)
def test_a_malformed_reply_is_a_typed_problem_that_tells_what_to_write(text, kind):
    turn = parse(text)
    assert turn.problem is not None
    assert turn.problem.kind is kind
    assert "<tool_call>" in turn.problem.message or "<answer>" in turn.problem.message
    assert (turn.calls, turn.answer) == ((), None)


@pytest.mark.parametrize("text", ["<think>It is", '<tool_call>{"name": "zo', "<answer>4"])
def test_what_a_length_limit_cut_is_too_long(text):
    assert parse(text, truncated=True).problem.kind is ProblemKind.TOO_LONG


def test_a_cut_that_lost_nothing_is_no_problem():
    assert parse("<answer>4</answer>", truncated=True).answer == "4"


@pytest.mark.parametrize(
    "piece",
    ["<tool_call>", "</tool_call>", "<tool_call></tool_call>", "<think>", "<think><answer>", "</think>"],
)
def test_parsing_is_linear(piece):
    text = piece * (100_000 // len(piece))
    took = []
    for _ in range(3):
        started = time.process_time()
        assert parse(text).problem is not None
        took.append(time.process_time() - started)
    assert min(took) < 0.05


@given(st.text(alphabet="<>/think_oalcswer{}\"':,[]0 \n", max_size=200))
def test_any_text_is_a_turn_with_exactly_one_outcome(text):
    turn = parse(text)
    assert turn.text == text
    assert bool(turn.calls) + (turn.answer is not None) + (turn.problem is not None) == 1


plain = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="<>"), min_size=1)
tagged = st.lists(plain | st.sampled_from([*TAGS, "<", '"', "\\u003c"]), min_size=1, max_size=4).map("".join)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | tagged,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(tagged, inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.tuples(plain, st.dictionaries(tagged, json_values, max_size=3)), min_size=1, max_size=3))
def test_calls_survive_writing_and_parsing(calls):
    turn = parse(write(thought="why", calls=calls))
    assert [(call.name, call.arguments) for call in turn.calls] == calls
    assert turn.thought == "why"


@given(plain.map(str.strip).filter(bool))
def test_an_answer_survives_writing_and_parsing(answer):
    assert parse(write(answer=answer)).answer == answer


def test_turns_are_written_as_the_shipped_checkpoint_was_trained():
    text = '<think>It is too small.</think><tool_call>{"name": "full_res", "arguments": {}}</tool_call>'
    assert write(thought="It is too small.", calls=[("full_res", {})]) == text
