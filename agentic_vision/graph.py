"""The loop: a LangGraph graph `glance -> think -> look -> think ... -> END`.

Its state is plain JSON: recipes of views, never pixels, so that any LangGraph checkpointer can store it and
it can be resumed in another process. Whoever runs the graph itself gives `{"question": ..., "images":
[paths]}`; its nodes are async (`ainvoke`, `astream`). Left before it has stopped, such a question stays in the
policy's memory until the policy makes room.
"""

from __future__ import annotations

import asyncio
import operator
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command
from pydantic import TypeAdapter

from .errors import ConfigError, ContextFullError, PolicyError
from .messages import Failure, FailureKind, Observation, SourceRecord, Step, StopReason, ToolCall, Turn
from .policy import Conversation, Policy, ToolSpec
from .prompts import messages, system_text
from .protocol import parse
from .runs import Run, Runs
from .toolbox import Look, Toolbox
from .view import View

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

    Graph: TypeAlias = CompiledStateGraph["State", None, "State", "State"]

MAX_MALFORMED = 3  # turns: a model that cannot write the protocol after two hints will not learn it now

STEPS: TypeAdapter[list[Step]] = TypeAdapter(list[Step])


class State(TypedDict, total=False):
    """What is stored between steps: JSON alone. `images` are paths, for who starts the graph itself."""

    id: str
    question: str
    images: list[str]
    sources: list[dict[str, Any]]
    steps: Annotated[list[dict[str, Any]], operator.add]
    stop: str | None
    answer: str | None
    detail: str | None


@dataclass(frozen=True)
class Loop:
    """The nodes of the graph and what they need. Limits are per question; `deadline` is in seconds."""

    policy: Policy
    toolbox: Toolbox
    runs: Runs
    glance_fraction: float
    max_turns: int
    max_visual_tokens: int | None
    deadline: float | None

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
        id = state.get("id") or uuid.uuid4().hex
        run = self.runs.start(id, state.get("images", []))
        if not run.sources or not state.get("question", "").strip():
            raise ConfigError('the graph needs {"question": ..., "images": [paths]}: give both')
        records = [SourceRecord(label=source.label, digest=source.digest, size=source.size) for source in run.sources]
        begun: State = {"id": id, "sources": [record.model_dump(mode="json") for record in records]}
        family, budget = self.policy.family, self.max_visual_tokens
        sizes = [family.glance(source.size, self.glance_fraction).size for source in run.sources]
        asked = sum(map(family.tokens, sizes))
        if budget is not None and asked > budget:
            shares = [budget * family.tokens(size) // asked for size in sizes]
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
        run = self._run(state)
        steps = STEPS.validate_python(state["steps"])
        seed = run.seed_for(state["question"], sum(isinstance(step, Turn) for step in steps))
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._left(run)) as limit:
                reply = await self.policy.reply(self._conversation(state, run, steps), seed=seed)
        except ContextFullError as error:
            return {"stop": StopReason.CONTEXT_FULL.value, "detail": str(error)}
        except PolicyError as error:
            return {"stop": StopReason.POLICY_FAILED.value, "detail": str(error)}
        except TimeoutError as error:
            if not limit.expired():
                return {"stop": StopReason.POLICY_FAILED.value, "detail": f"the policy timed out: {error}"}
            return {"stop": StopReason.DEADLINE.value, "detail": f"no answer within {self.deadline:g} s"}
        calls = sum(len(step.calls) for step in steps if isinstance(step, Turn))
        # Half of a surrogate pair, which some decoders let through, cannot be stored as JSON.
        text = reply.text.encode("utf-8", "replace").decode()
        turn = parse(text, first_call=calls + 1, truncated=reply.truncated).model_copy(
            update={
                "input_tokens": reply.input_tokens,
                "output_tokens": reply.output_tokens,
                "seconds": time.perf_counter() - started,
            }
        )
        turns = [step for step in (*steps, turn) if isinstance(step, Turn)]
        update: State = {"steps": _dumped([turn])}
        if turn.answer is not None:
            return {**update, "stop": StopReason.ANSWERED.value, "answer": turn.answer}
        if sum(turn.problem is not None for turn in turns) >= MAX_MALFORMED:
            return {
                **update,
                "stop": StopReason.MALFORMED.value,
                "detail": f"{MAX_MALFORMED} malformed turns",
            }
        if len(turns) >= self.max_turns:
            return {
                **update,
                "stop": StopReason.TURN_LIMIT.value,
                "detail": f"no answer in {self.max_turns} turns",
            }
        return update

    async def look(self, state: State) -> State:
        """Make the calls of the last turn, or report what was malformed in it."""
        run = self._run(state)
        steps = STEPS.validate_python(state["steps"])
        turn = steps[-1]
        assert isinstance(turn, Turn)
        if turn.problem is not None:
            return {"steps": _dumped([Observation(text=turn.problem.message)])}
        observations = await self._calls(turn.calls, steps[:-1], run, state["question"])
        update: State = {"steps": _dumped(observations)}
        earlier = _by_turn(steps[:-1])
        if earlier and _all(earlier[-1], FailureKind.REPEATED) and _all(observations, FailureKind.REPEATED):
            detail = "the same call was made again after it was refused"
            return {**update, "stop": StopReason.REPEATED_CALL.value, "detail": detail}
        refused = [turn for turn in (*earlier, observations) if _any(turn, FailureKind.OVER_BUDGET)]
        if len(refused) > 1 and refused[-1] is observations:
            detail = f"the model went on asking for views beyond max_visual_tokens={self.max_visual_tokens}"
            return {**update, "stop": StopReason.TOKEN_BUDGET.value, "detail": detail}
        return update

    async def _calls(
        self, calls: Sequence[ToolCall], steps: Sequence[Step], run: Run, question: str
    ) -> list[Observation]:
        """Make the calls of one turn side by side: all of them refer to the images shown before it."""
        views = [step.view for step in steps if isinstance(step, Observation) and step.view is not None]
        look = Look(tuple(views), run.sources, self.policy.family, question)
        made = self._made(steps)
        work: list[Any] = []
        for call in calls:
            fingerprint = self.toolbox.fingerprint(call, len(look.views))
            again = fingerprint in made
            work.append(_repeated(call) if again else self.toolbox.run(call, look, time_limit=self._left(run)))
            made.add(fingerprint)
        results: list[Observation] = [await work[0]] if len(work) == 1 else await asyncio.gather(*work)
        spent = sum(step.visual_tokens for step in steps if isinstance(step, Observation))
        observations = []
        for result in results:
            observation = self._admitted(result, views, spent)
            if observation.view is not None:
                views.append(observation.view)
                spent += observation.visual_tokens
            observations.append(observation)
        return observations

    def _admitted(self, observation: Observation, views: Sequence[View], spent: int) -> Observation:
        """The observation with its number and cost, or refused: shown before, or beyond the budget."""
        view = observation.view
        if view is None:
            return observation
        cost = self.policy.family.tokens(view.size)
        if view in views:
            number = views.index(view) + 1
            message = f"Image {number} shows exactly that. Look elsewhere, or answer with what you have seen."
            failure = Failure(kind=FailureKind.REPEATED, message=message)
        elif self.max_visual_tokens is not None and spent + cost > self.max_visual_tokens:
            message = "There is no budget left for another view like that. Answer with what you have seen."
            failure = Failure(kind=FailureKind.OVER_BUDGET, message=message)
        else:
            return observation.model_copy(update={"visual_tokens": cost, "image": len(views) + 1})
        return observation.model_copy(update={"view": None, "failure": failure})

    def _made(self, steps: Sequence[Step]) -> set[tuple[str, str]]:
        """Fingerprints of the calls that were answered; those that lacked time or budget may be repeated."""
        made, shown, at_turn = set(), 0, 0
        for step in steps:
            if isinstance(step, Turn):
                at_turn = shown
                continue
            retry = step.failure and step.failure.kind in (FailureKind.TIME_LIMIT, FailureKind.OVER_BUDGET)
            if step.call is not None and not retry:
                made.add(self.toolbox.fingerprint(step.call, at_turn))
            shown += step.view is not None
        return made

    def _conversation(self, state: State, run: Run, steps: Sequence[Step]) -> Conversation:
        # From its second call on, the model has several images to choose from.
        specs, system = self._told[len(run.sources) > 1 or self.max_turns > 2]
        said = messages(
            state["question"],
            run.sources,
            steps,
            system=system,
            style=self.policy.style,
            max_turns=self.max_turns,
        )
        return Conversation(id=state["id"], messages=said, tools=specs)

    @cached_property
    def _told(self) -> dict[bool, tuple[tuple[ToolSpec, ...], str]]:
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

    def _run(self, state: State) -> Run:
        return self.runs.get(state["id"], [SourceRecord.model_validate(record) for record in state["sources"]])

    def _left(self, run: Run) -> float | None:
        return None if self.deadline is None else max(self.deadline - run.seconds, 0.0)


async def _repeated(call: ToolCall) -> Observation:
    message = "You made this very call before. Look at what it showed, look elsewhere, or answer."
    return Observation(call=call, failure=Failure(kind=FailureKind.REPEATED, message=message))


def _dumped(steps: Sequence[Step]) -> list[dict[str, Any]]:
    return [step.model_dump(mode="json") for step in steps]


def _by_turn(steps: Sequence[Step]) -> list[list[Observation]]:
    """What came back, turn by turn; the glances left out."""
    turns: list[list[Observation]] = []
    for step in steps:
        if isinstance(step, Turn):
            turns.append([])
        elif turns:
            turns[-1].append(step)
    return turns


def _all(observations: Sequence[Observation], kind: FailureKind) -> bool:
    return bool(observations) and all(seen.failure and seen.failure.kind is kind for seen in observations)


def _any(observations: Sequence[Observation], kind: FailureKind) -> bool:
    return any(seen.failure and seen.failure.kind is kind for seen in observations)
