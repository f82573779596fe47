"""The loop: a LangGraph graph `glance -> think -> look -> think ... -> END`.

Its state is plain JSON: recipes of views, never pixels, so that any LangGraph checkpointer can store it and
it can be resumed in another process. Whoever runs the graph itself gives `{"question": ..., "images":
[paths]}`; its nodes are async (`ainvoke`, `astream`). Left before it has stopped, such a question stays in the
policy's memory until the policy makes room.
"""

from __future__ import annotations

import asyncio
import math
import operator
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command
from pydantic import TypeAdapter

from . import history, telemetry
from .calls import carried_out
from .errors import ConfigError, PolicyError
from .limits import Limits, stop_reason
from .messages import Asked, FailureKind, Observation, SourceRecord, Step, StopReason, Turn
from .policy import Concluding, Conversation, Policy, Reply, Streaming, ToolSpec
from .prompts import messages, reported, system_text
from .protocol import parse
from .runs import Run, Runs
from .toolbox import CallScope, Toolbox
from .view import View
from .whole_text import WholePieces, whole

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

    Graph: TypeAlias = CompiledStateGraph["State", None, "State", "State"]

STEPS: TypeAdapter[list[Step]] = TypeAdapter(list[Step])


class State(TypedDict, total=False):
    """What is stored between steps: JSON alone. `images` are paths or URLs, for who starts the graph itself.

    `ending`: the limit for which the next turn is the last one, in which the policy is made to answer.
    """

    id: str
    question: str
    images: list[str]
    sources: list[dict[str, Any]]
    steps: Annotated[list[dict[str, Any]], operator.add]
    ending: str | None
    stop: str | None
    answer: str | None
    detail: str | None


_NEEDS = 'the graph needs {"question": ..., "images": [paths]}: give both'


@dataclass(frozen=True)
class Loop:
    """The nodes of the graph and what they need."""

    policy: Policy
    toolbox: Toolbox
    runs: Runs
    glance_fraction: float
    limits: Limits

    def compile(self, checkpointer: BaseCheckpointSaver[Any] | None) -> Graph:
        """The compiled graph."""
        graph = StateGraph(State)
        # Nodes say themselves where to go (`Command`): a third cheaper a step than conditional edges.
        graph.add_node("glance", self._going_to("think", self.glance), destinations=("think", END))
        graph.add_node("think", self._going_to("look", self.think), destinations=("look", END))
        graph.add_node("look", self._going_to("think", self.look), destinations=("think", END))
        graph.add_edge(START, "glance")
        return graph.compile(checkpointer=checkpointer, name="agentic-vision")

    async def glance(self, state: State) -> State:
        """Show every image at the asked fraction of its full visual tokens, less where the budget is less."""
        if (before := STEPS.validate_python(state.get("steps", []))) and not isinstance(before[-1], Asked):
            raise ConfigError(
                "this thread has been asked already, and the graph itself always begins anew: go on with the agent, "
                "ask(None, question, thread_id=...), or take another thread"
            )
        id = state.get("id") or uuid.uuid4().hex  # never the thread's: LangGraph gives a parent's to all below it
        question, images = state.get("question"), state.get("images", [])
        if not isinstance(question, str) or not question.strip() or isinstance(images, str | bytes):
            raise ConfigError(_NEEDS)
        run = await self.runs.start(id, images)
        if not run.sources:
            raise ConfigError(_NEEDS)
        records = [SourceRecord(label=source.label, digest=source.digest, size=source.size) for source in run.sources]
        begun: State = {"id": id, "sources": [record.model_dump(mode="json") for record in records]}
        family, budget = self.policy.family, self.limits.max_visual_tokens
        sizes = [family.glance(source.size, self.glance_fraction).size for source in run.sources]
        cost = sum(map(family.tokens, sizes))
        if budget is not None and cost > budget:
            shares = [budget * family.tokens(size) // cost for size in sizes]
            sizes = [family.at_most(size, share) for size, share in zip(sizes, shares, strict=True)]
            if sum(map(family.tokens, sizes)) > budget:
                detail = f"the cheapest look costs more than max_visual_tokens={budget}: allow more"
                return {**begun, "stop": StopReason.TOKEN_BUDGET.value, "detail": detail}
        views = [View.whole(run.sources[n].size, size, n) for n, size in enumerate(sizes)]
        glances = [
            Observation(view=view, visual_tokens=family.tokens(view.size), image=number)
            for number, view in enumerate(views, 1)
        ]
        return {**begun, "steps": _dumped(glances)}

    async def think(self, state: State) -> State:
        """Ask the policy for the next turn, and decide whether it was the last one."""
        run = await self._run(state)
        steps = STEPS.validate_python(state["steps"])
        before = history.turns(history.current(steps))
        stored = state.get("ending")
        ending = StopReason(stored) if stored else self._hurry(run, before)
        turn = await self._asked(state, run, steps, conclude=ending is not None)
        if not isinstance(turn, Turn):
            return turn
        if ending is None and turn.answer is None and (ending := self.limits.reached([*before, turn])) is not None:
            turn = await self._made_to_answer(state, run, steps, turn)
        update: State = {"steps": _dumped([turn]), "answer": turn.answer}
        if ending is not None:
            return {**update, "stop": ending.value, "detail": self.limits.why(ending)}
        return {**update, "stop": StopReason.ANSWERED.value} if turn.answer is not None else update

    async def _made_to_answer(self, state: State, run: Run, steps: Sequence[Step], turn: Turn) -> Turn:
        """The last turn once more, as an answer, at the cost of both; as it was, where the policy gives none."""
        if self._concluding is None:
            return turn
        again = await self._asked(state, run, steps, conclude=True)
        if not isinstance(again, Turn):
            return turn
        last = turn if again.answer is None else again
        fields = ("input_tokens", "cached_tokens", "output_tokens", "seconds", "requests")
        return last.model_copy(update={field: getattr(turn, field) + getattr(again, field) for field in fields})

    async def _asked(self, state: State, run: Run, steps: Sequence[Step], *, conclude: bool) -> Turn | State:
        """The policy's next turn, or how the question ends without it."""
        turns = history.turns(steps)
        seed = run.seed_for(state["question"], len(turns))
        conversation = self._conversation(state, run, steps)
        started = time.perf_counter()
        try:
            with telemetry.chat(run.span, self.policy, conversation, seed) as replied:
                async with asyncio.timeout(self._left(run)) as limit:
                    reply = await self._reply(conversation, run, seed, conclude=conclude)
                replied(reply)
        except PolicyError as error:
            return {"stop": stop_reason(error).value, "detail": whole(str(error))}
        except TimeoutError as error:
            if not limit.expired():
                return {"stop": StopReason.POLICY_FAILED.value, "detail": f"the policy timed out: {error}"}
            return {"stop": StopReason.DEADLINE.value, "detail": self.limits.why(StopReason.DEADLINE)}
        calls = sum(len(turn.calls) for turn in turns)
        return parse(reply.text, first_call=calls + 1, truncated=reply.truncated).model_copy(
            update={
                "input_tokens": reply.input_tokens,
                "cached_tokens": reply.cached_tokens,
                "output_tokens": reply.output_tokens,
                "seconds": time.perf_counter() - started,
            }
        )

    async def _reply(self, conversation: Conversation, run: Run, seed: int | None, *, conclude: bool) -> Reply:
        if conclude and self._concluding is not None:
            return await self._concluding.conclude(conversation, seed=seed)
        if not run.heard or not isinstance(self.policy, Streaming):
            return await self.policy.reply(conversation, seed=seed)
        say, in_pieces = get_stream_writer(), WholePieces()
        async with aclosing(self.policy.stream(conversation, seed=seed)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    return piece
                if said := in_pieces(piece):
                    say(said)
        raise PolicyError("the policy's stream ended without its reply")

    async def look(self, state: State) -> State:
        """Make the calls of the last turn, or report what was malformed in it."""
        run = await self._run(state)
        steps = STEPS.validate_python(state["steps"])
        turn = steps[-1]
        assert isinstance(turn, Turn)
        if turn.problem is not None:
            return {"steps": _dumped([Observation(text=reported(turn.problem, self.policy.style))])}
        before = steps[:-1]
        question = history.latest_question(state["question"], before)
        scope = CallScope(tuple(history.views(before)), run.sources, self.policy.family, question)
        observations = await carried_out(
            turn.calls,
            before,
            scope,
            self.toolbox,
            budget=self.limits.max_visual_tokens,
            seconds=self._left(run),
            span=run.span,
        )
        update: State = {"steps": _dumped(observations)}
        earlier = history.by_turn(history.current(before))
        lately = [earlier[-1] if earlier else [], observations]
        if all(history.all_failed(seen, FailureKind.REPEATED) for seen in lately):
            return self._ending(update, StopReason.REPEATED_CALL)
        refused = [seen for seen in (*earlier, observations) if history.any_failed(seen, FailureKind.OVER_BUDGET)]
        again = len(refused) > 1 or self._spent_out([*before, *observations])
        if refused and refused[-1] is observations and again:
            return self._ending(update, StopReason.TOKEN_BUDGET)
        return update

    def _spent_out(self, steps: Sequence[Step]) -> bool:
        """Whether a policy can be made to answer, and the budget holds not even the cheapest look at any image."""
        if self._concluding is None:
            return False
        family, spent = self.policy.family, history.spent(history.current(steps))
        cheapest = min(family.tokens(family.at_most(view.size, 0)) for view in history.views(steps))
        return spent + cheapest > (self.limits.max_visual_tokens or math.inf)

    def _hurry(self, run: Run, turns: Sequence[Turn]) -> StopReason | None:
        return self.limits.hurry(run.seconds, turns) if self._concluding is not None else None

    def _ending(self, update: State, reason: StopReason) -> State:
        """The end for `reason`, after one last turn where the policy can be made to answer."""
        key: Literal["ending", "stop"] = "stop" if self._concluding is None else "ending"
        ended: State = {**update, "detail": self.limits.why(reason)}
        ended[key] = reason.value
        return ended

    def _conversation(self, state: State, run: Run, steps: Sequence[Step]) -> Conversation:
        # From its second call on, the model has several images to choose from.
        specs, system = self._tools_told[len(run.sources) > 1 or self.limits.max_turns > 2]
        said = messages(
            state["question"],
            run.sources,
            steps,
            system=system,
            style=self.policy.style,
            max_turns=self.limits.max_turns,
        )
        return Conversation(id=state["id"], messages=said, tools=specs)

    @cached_property
    def _concluding(self) -> Concluding | None:
        """The policy, where it can be made to answer. Asked once: of a protocol that takes long."""
        return self.policy if isinstance(self.policy, Concluding) else None

    @cached_property
    def _tools_told(self) -> dict[bool, tuple[tuple[ToolSpec, ...], str]]:
        """What the model is told of the tools, by whether it may name the image that it looks at."""
        told = {}
        for several in (False, True):
            specs = self.toolbox.specs(self.policy.family, several_images=several)
            told[several] = specs, system_text(specs, self.policy.style, reduced=self.glance_fraction < 1)
        return told

    def _going_to(self, node: str, work: Callable[[State], Awaitable[State]]) -> Any:
        """`work` as a node of the graph, after which comes `node`, or the end where it set a stop reason."""

        async def step(state: State) -> Command[str]:
            update = await work(state)
            if not update.get("stop"):
                return Command(update=update, goto=node)
            id = state.get("id") or update["id"]
            if not self.runs.holds(id):  # started on the graph itself: here is who knows that it is over
                self.runs.end(id)
                self.policy.forget(id)
            return Command(update=update, goto=END)

        return step

    async def _run(self, state: State) -> Run:
        return await self.runs.get(state["id"], [SourceRecord.model_validate(record) for record in state["sources"]])

    def _left(self, run: Run) -> float | None:
        return self.limits.left(run.seconds)


def _dumped(steps: Sequence[Step]) -> list[dict[str, Any]]:
    return [step.model_dump(mode="json") for step in steps]
