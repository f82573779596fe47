"""What does OpenTelemetry hear of a question that fails, is refused, cancelled or left?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest
from PIL import Image
from scripted_agent import ANSWER, Failing
from spans import QUESTION, Heard, error, listening

from agentic_vision import ConfigError, ImageError, View, VisionAgent, visual_tool
from agentic_vision.errors import PolicyError
from agentic_vision.messages import FailureKind, StopReason
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.protocol import write


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    with listening(monkeypatch) as heard:
        yield heard


def test_calls_that_bring_nothing_say_why(heard: Heard, picture: Image.Image) -> None:
    @visual_tool
    def broken(view: View) -> View:  # noqa: ARG001
        """Look."""
        raise RuntimeError("it broke")

    calls = [("nothing_like_it", {}), ("broken", {}), ("zoom_crop", {"bbox_2d": "here"}), ("full_res", {})]
    again = write(calls=[("full_res", {}), ("zoom_crop", {"bbox_2d": [0, 0, 900, 900]})])
    replies = [write(calls=calls), again, ANSWER]
    agent = VisionAgent(ScriptedPolicy(replies), tools=["full_res", "zoom_crop", broken], max_visual_tokens=1800)
    result = agent.ask(picture, QUESTION)
    spans = sorted((span for span in heard.spans if span.name.startswith("exec")), key=lambda span: span.start_time)
    kinds = [seen.failure.kind if seen.failure else None for seen in result.trajectory.observations if seen.call]
    expected = [
        FailureKind.UNKNOWN_TOOL,
        FailureKind.TOOL_RAISED,
        FailureKind.BAD_ARGUMENTS,
        None,
        FailureKind.REPEATED,
        FailureKind.OVER_BUDGET,
    ]
    assert kinds == expected
    assert [error(span) for span in spans] == expected
    assert spans[0].attributes["gen_ai.tool.name"] == "unknown_tool"
    assert error(heard.named("invoke_agent agentic-vision")[0]) is None


@pytest.mark.parametrize("address", ["http://host:99999/v1", "http://[::1/v1"])
def test_an_address_that_cannot_be_changes_no_outcome(heard: Heard, picture: Image.Image, address: str) -> None:
    policy = ScriptedPolicy([ANSWER])
    policy.base_url = address  # type: ignore[attr-defined]
    assert VisionAgent(policy).ask(picture, QUESTION).answer == "417"
    assert "server.address" not in heard.named("chat")[0].attributes


def test_a_policy_that_fails_is_an_error_of_the_request_and_of_the_question(heard: Heard, picture: Image.Image) -> None:
    assert VisionAgent(Failing(PolicyError("gone"))).ask(picture, QUESTION).stop_reason is StopReason.POLICY_FAILED
    assert error(heard.named("chat")[0]) == "PolicyError"
    assert error(heard.named("invoke_agent agentic-vision")[0]) == "policy_failed"
    heard.exporter.clear()
    VisionAgent(Failing(seconds=5), deadline=0.05).ask(picture, QUESTION)
    (asked,) = heard.named("invoke_agent agentic-vision")
    assert (error(heard.named("chat")[0]), error(asked)) == ("TimeoutError", None)
    assert asked.attributes["agentic_vision.stop_reason"] == "deadline"
    heard.exporter.clear()
    with pytest.raises(RuntimeError):
        VisionAgent(Failing(RuntimeError("a defect"))).ask(picture, QUESTION)
    assert [error(span) for span in heard.spans] == ["RuntimeError", "RuntimeError"]


def test_a_question_that_cannot_be_asked_is_an_error(heard: Heard, picture: Image.Image, tmp_path: Any) -> None:
    agent = VisionAgent(ScriptedPolicy([ANSWER]))
    with pytest.raises(ImageError):
        agent.ask(tmp_path / "none.png", QUESTION)
    with pytest.raises(ConfigError):
        agent.ask(picture, " ")
    assert [error(span) for span in heard.spans] == ["ImageError", "ConfigError"]


def test_a_question_that_is_cancelled_or_left_ends_its_spans(heard: Heard, picture: Image.Image) -> None:
    @visual_tool
    async def slow(view: View) -> str:  # noqa: ARG001
        """Look."""
        await asyncio.sleep(60)
        return "late"

    async def cancelled(agent: VisionAgent) -> None:
        async with asyncio.timeout(0.5):
            await agent.aask(picture, QUESTION)

    calling = VisionAgent(ScriptedPolicy([write(calls=[("slow", {}), ("full_res", {})])]), tools=[slow, "full_res"])
    for agent, names in [(VisionAgent(Failing(seconds=60)), ["chat"]), (calling, ["execute_tool slow"])]:
        heard.exporter.clear()
        with pytest.raises(TimeoutError):
            asyncio.run(cancelled(agent))
        broken = [span.name for span in heard.spans if error(span) == "CancelledError"]
        assert sorted(broken) == sorted([*names, "invoke_agent agentic-vision"])
    assert error(heard.named("execute_tool full_res")[0]) is None  # came back before

    async def left() -> None:
        async with aclosing(VisionAgent(ScriptedPolicy([ANSWER])).astream(picture, QUESTION)) as stream:
            async for _ in stream:
                break

    heard.exporter.clear()
    asyncio.run(left())
    assert error(heard.named("invoke_agent agentic-vision")[0]) == "GeneratorExit"
