"""The graph's state: plain JSON in any LangGraph checkpointer, from which a question can go on."""

import asyncio
import json
from itertools import pairwise

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from PIL import Image

from agentic_vision import ConfigError, ImageError, PolicyError, VisionAgent
from agentic_vision.messages import StopReason
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.protocol import write
from agentic_vision.trace import trace_html

ANSWER = write(answer="417")
FULL = write(calls=[("full_res", {})])


class Breaking(ScriptedPolicy):
    """Raises `error` in its second turn as long as there is one."""

    def __init__(self, error):
        super().__init__([FULL, ANSWER])
        self.error = error

    async def reply(self, conversation, *, seed=None):
        if self.error and len(conversation.images) > 1:
            raise self.error
        return await super().reply(conversation, seed=seed)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "picture.png"
    Image.effect_noise((1200, 900), 50).convert("RGB").save(path)
    return path


def saver():
    # The strictest serializer there is: nothing but plain types comes back from it.
    return InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=[]))


def test_the_state_is_plain_json_with_recipes_and_no_pixels(path):
    agent = VisionAgent(ScriptedPolicy([FULL, ANSWER]), checkpointer=saver())
    result = agent.ask(str(path), "Which number?", thread_id="one")
    state = agent.graph.get_state({"configurable": {"thread_id": "one"}})
    assert state.next == ()
    assert json.loads(json.dumps(state.values)) == state.values
    assert len(json.dumps(state.values)) < 4000
    assert state.values["answer"] == result.answer == "417"
    assert agent.resume("one").trajectory.steps == result.trajectory.steps


@pytest.mark.parametrize("error", [RuntimeError("killed"), PolicyError("the endpoint is down")])
def test_a_question_that_broke_off_goes_on_in_another_process(path, error):
    stored = saver()
    first = VisionAgent(Breaking(error), checkpointer=stored)
    if isinstance(error, PolicyError):
        assert first.ask(path, "Which number?", thread_id="one").stop_reason is StopReason.POLICY_FAILED
    else:
        with pytest.raises(RuntimeError):
            first.ask(path, "Which number?", thread_id="one")
    policy = Breaking(None)
    result = VisionAgent(policy, checkpointer=stored).resume("one")
    assert (result.answer, result.stop_reason) == ("417", StopReason.ANSWERED)
    assert result.trajectory.detail is None
    assert [view.is_whole for view in result.trajectory.views] == [True, True]
    assert result.usage.requests == 2
    assert result.trajectory.replay([path])


def test_images_that_were_no_files_are_given_again_and_checked(path):
    stored = saver()
    data = path.read_bytes()
    with pytest.raises(RuntimeError):
        VisionAgent(Breaking(RuntimeError()), checkpointer=stored).ask(data, "Which number?", thread_id="one")
    agent = VisionAgent(Breaking(None), checkpointer=stored)
    with pytest.raises(ConfigError, match="pass the question's images"):
        agent.resume("one")
    with pytest.raises(ConfigError, match="not the images"):
        agent.resume("one", Image.new("RGB", (1200, 900)))
    assert agent.resume("one", data).answer == "417"


def test_a_file_that_changed_is_noticed(path):
    stored = saver()
    with pytest.raises(RuntimeError):
        VisionAgent(Breaking(RuntimeError()), checkpointer=stored).ask(path, "Which number?", thread_id="one")
    Image.new("RGB", (1200, 900)).save(path)
    agent = VisionAgent(Breaking(None), checkpointer=stored)
    for _ in range(2):  # and not only the first time
        with pytest.raises(ConfigError, match="not the images"):
            agent.resume("one")


def test_a_thread_is_asked_again_and_what_was_seen_stays(path):
    seen = []

    def script(conversation):
        seen.append(conversation)
        asked = sum(message.role == "user" for message in conversation.messages)
        looked = conversation.messages[-1].role == "tool"
        return ANSWER if asked == 2 or looked else FULL

    agent = VisionAgent(ScriptedPolicy(script), checkpointer=saver(), max_turns=2)
    first = agent.ask(path, "Which number?", thread_id="one")
    second = agent.ask(None, "Which colour?", thread_id="one")
    assert (second.answer, second.stop_reason) == ("417", StopReason.ANSWERED)
    assert second.trajectory.views == first.trajectory.views
    assert second.usage.visual_tokens == first.usage.visual_tokens
    assert second.usage.requests == 3
    assert second.trajectory.steps[: len(first.trajectory.steps)] == first.trajectory.steps
    said = [[message.model_dump() for message in conversation.messages] for conversation in seen]
    for before, after in pairwise(said):
        assert after[: len(before)] == before
    assert [message.text for message in seen[-1].messages if message.role == "user"] == [
        "Which number?",
        "Which colour?",
    ]
    # Limits are a question's, not a thread's; calls are numbered on.
    third = agent.ask(path, "And then?", thread_id="one")
    assert third.answer == "417"
    assert len({call.id for call in third.trajectory.calls}) == len(third.trajectory.calls) == 2
    assert "Asked further" in trace_html(third.trajectory, [path])


def test_a_question_that_broke_off_comes_before_the_next(path):
    agent = VisionAgent(Breaking(RuntimeError()), checkpointer=saver())
    with pytest.raises(RuntimeError):
        agent.ask(path, "Which number?", thread_id="one")
    with pytest.raises(ConfigError, match="resume"):
        agent.ask(path, "Which colour?", thread_id="one")
    agent.policy.error = None
    assert agent.resume("one").answer == "417"
    with pytest.raises(ConfigError, match="not the images"):
        agent.ask(Image.new("RGB", (1200, 900)), "Which colour?", thread_id="one")


@pytest.mark.parametrize("step", [0, 1, 2, 3], ids=["glance", "call", "look", "answer"])
def test_a_kill_between_a_step_and_its_checkpoint_loses_nothing(path, step):
    """What a step wrote is stored before the checkpoint in which it counts."""

    class KilledError(RuntimeError):
        pass

    class Dying(InMemorySaver):
        lives = step + 2  # the first two checkpoints are those of the question

        async def aput(self, *arguments):
            type(self).lives -= 1
            if self.lives < 0:
                raise KilledError
            return await super().aput(*arguments)

    dying = Dying()
    with pytest.raises(KilledError):
        VisionAgent(ScriptedPolicy([FULL, ANSWER]), checkpointer=dying).ask(path, "Which number?", thread_id="one")
    Dying.lives = 100
    policy = ScriptedPolicy([FULL, ANSWER, write(answer="red")])
    agent = VisionAgent(policy, checkpointer=dying)
    with pytest.raises(ConfigError, match="resume"):
        agent.ask(path, "Which colour?", thread_id="one")
    whole = VisionAgent(ScriptedPolicy([FULL, ANSWER])).ask(path, "Which number?")
    assert lasting(agent.resume("one", path)) == lasting(whole)
    assert agent.ask(None, "Which colour?", thread_id="one").answer
    second = agent.resume("one")
    assert [step.kind for step in second.trajectory.steps[:4]] == ["observation", "turn", "observation", "turn"]
    assert second.trajectory.steps[3].answer == "417"


def lasting(result):
    """What does not differ from run to run."""
    steps = [step.model_dump(mode="json", exclude={"seconds"}) for step in result.trajectory.steps]
    return result.answer, result.stop_reason, steps


def test_a_thread_that_is_not_there_is_said(path):
    agent = VisionAgent(ScriptedPolicy([ANSWER]), checkpointer=saver())
    with pytest.raises(ConfigError, match="no image"):
        agent.ask(None, "Which number?", thread_id="one")
    with pytest.raises(ConfigError, match="no thread 'two'"):
        agent.resume("two")
    with pytest.raises(ConfigError, match="checkpointer="):
        VisionAgent(ScriptedPolicy([ANSWER])).ask(path, "Which number?", thread_id="one")


def test_the_graph_runs_by_itself_on_paths(path):
    agent = VisionAgent(ScriptedPolicy([FULL, ANSWER]))
    state = asyncio.run(agent.graph.ainvoke({"question": "Which number?", "images": [str(path)]}))
    assert (state["answer"], state["stop"]) == ("417", "answered")
    with pytest.raises(ImageError):
        asyncio.run(agent.graph.ainvoke({"question": "Which number?", "images": ["nowhere.png"]}))
    with pytest.raises(ConfigError, match="both"):
        asyncio.run(agent.graph.ainvoke({"question": "Which number?"}))


def test_a_question_on_the_graph_has_the_agents_seed_and_is_forgotten_when_it_stops(path):
    seeds = []

    class Recording(ScriptedPolicy):
        async def reply(self, conversation, *, seed=None):
            seeds.append(seed)
            return await super().reply(conversation, seed=seed)

    policy = Recording([FULL, ANSWER])
    asyncio.run(VisionAgent(policy, seed=7).graph.ainvoke({"question": "Which number?", "images": [str(path)]}))
    assert policy.conversations == {}
    VisionAgent(Recording([FULL, ANSWER]), seed=7).ask(path, "Which number?")
    assert seeds[:2] == seeds[2:]
    assert seeds[0] is not None


def test_an_id_that_is_used_again_on_the_graph_has_its_new_images(path, tmp_path):
    other = tmp_path / "other.png"
    Image.new("RGB", (300, 200)).save(other)
    graph = VisionAgent(ScriptedPolicy([ANSWER])).graph
    for image in (path, other):
        state = asyncio.run(graph.ainvoke({"id": "one", "question": "Which number?", "images": [str(image)]}))
        assert [source["label"] for source in state["sources"]] == [str(image)]


def test_the_graph_is_glance_think_look():
    drawn = VisionAgent(ScriptedPolicy([ANSWER])).graph.get_graph()
    edges = {(edge.source, edge.target) for edge in drawn.edges}
    assert edges == {
        ("__start__", "glance"),
        ("glance", "think"),
        ("glance", "__end__"),
        ("think", "look"),
        ("think", "__end__"),
        ("look", "think"),
        ("look", "__end__"),
    }
