"""Several questions in one thread: what each may spend, call again and be shown, and whose turn it is."""

# ruff: noqa: ARG001 (a tool takes the view, a test its surroundings, whether or not it needs them)

import asyncio
import sys
import threading

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from scripted_agent import ANSWER, FAMILY, FULL

from agentic_vision import ConfigError, View, VisionAgent, visual_tool
from agentic_vision.endpoint import PerLoop
from agentic_vision.messages import FailureKind, StopReason
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.protocol import write


def test_a_question_after_one_that_could_show_nothing_begins_with_the_glance(picture, tmp_path):
    saver, seen = InMemorySaver(), []

    def script(conversation):
        seen.append(len(conversation.images))
        return ANSWER

    poor = VisionAgent(ScriptedPolicy(script), checkpointer=saver, max_visual_tokens=1)
    assert poor.ask(picture, "Which number?", thread_id="one").stop_reason is StopReason.TOKEN_BUDGET
    again = poor.ask(picture, "Which colour?", thread_id="one")
    assert (again.answer, again.stop_reason, seen) == (None, StopReason.TOKEN_BUDGET, [])

    rich = VisionAgent(ScriptedPolicy(script), checkpointer=saver)
    result = rich.ask(picture, "Which shape?", thread_id="one")
    assert (result.answer, seen) == ("417", [1])
    assert result.usage.visual_tokens == FAMILY.glance(picture.size).tokens
    result.save_trace(tmp_path / "trace.html")


def test_every_question_has_the_budget_of_visual_tokens(picture):
    def script(conversation):
        said = [message.role for message in conversation.messages]
        if len(said) > 5 and said[-1] == "user":  # the second question
            return write(calls=[("zoom_crop", {"bbox_2d": [0, 0, 600, 600]})])
        return ANSWER if said[-1] == "tool" else FULL

    glance, full = FAMILY.glance(picture.size).tokens, FAMILY.tokens(FAMILY.full(picture.size))
    policy, saver = ScriptedPolicy(script), InMemorySaver()
    agent = VisionAgent(policy, checkpointer=saver, max_visual_tokens=glance + full)
    agent.ask(picture, "Which number?", thread_id="one")
    second = agent.ask(picture, "And below?", thread_id="one").trajectory
    assert [view.size for view in second.views][1:2] == [FAMILY.full(picture.size)]
    assert len(second.views) == 3
    assert not any(seen.failure for seen in second.observations)


def test_a_call_may_be_made_again_for_another_question_but_no_view_is_shown_twice(picture):
    asked = []

    @visual_tool
    def ponder(view: View) -> str:
        """Think about it."""
        asked.append(len(asked))
        return f"thought {len(asked)}"

    both = write(calls=[("ponder", {}), ("full_res", {"image": 1})])
    agent = VisionAgent(
        ScriptedPolicy([both, ANSWER, both, both, ANSWER]), tools=[ponder, "full_res"], checkpointer=InMemorySaver()
    )
    agent.ask(picture, "Which number?", thread_id="one")
    seen = agent.ask(picture, "And now?", thread_id="one").trajectory.observations
    first, again, third = seen[1:3], seen[3:5], seen[5:]
    assert [made.text for made in (first[0], again[0])] == ["thought 1", "thought 2"]
    assert first[1].view is not None
    assert again[1].failure.kind is FailureKind.REPEATED
    assert "shows exactly that" in again[1].failure.message
    assert [made.failure.kind for made in third] == [FailureKind.REPEATED] * 2  # in one question it is not


def test_two_questions_at_once_are_not_one_thread(picture):
    class Slow(ScriptedPolicy):
        async def reply(self, conversation, *, seed=None):
            await asyncio.sleep(0.05)
            return await super().reply(conversation, seed=seed)

    agent = VisionAgent(Slow([ANSWER]), checkpointer=InMemorySaver())

    async def both():
        asked = [agent.aask(picture, question, thread_id="one") for question in ("Which number?", "Which colour?")]
        return await asyncio.gather(*asked, agent.aask(picture, "Else?", thread_id="two"), return_exceptions=True)

    first, second, other = asyncio.run(both())
    assert first.answer == other.answer == "417"
    assert isinstance(second, ConfigError)
    assert "being asked already" in str(second)
    assert len(agent.ask(picture, "Which colour?", thread_id="one").trajectory.turns) == 2

    async def left_early():
        stream = agent.astream(picture, "And now?", thread_id="one")
        await anext(stream)
        with pytest.raises(ConfigError, match="close its stream"):
            await agent.aresume("one", picture)
        await stream.aclose()
        return await agent.aresume("one", picture)

    assert asyncio.run(left_early()).answer == "417"


@pytest.fixture
def hasty():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_loops_of_several_threads_ask_at_once(hasty):
    made = PerLoop(object)
    begun, failed = threading.Barrier(8), []

    async def ask():
        mine = made.get()
        begun.wait()
        for _ in range(300):
            if made.get() is not mine:
                raise AssertionError("another loop's")

    def work():
        try:
            for _ in range(30):
                asyncio.run(ask())
        except BaseException as error:
            failed.append(error)
            begun.abort()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
