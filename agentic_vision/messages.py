"""What happened in one question: turns, tool calls, observations, usage, and the trajectory that holds them.

Everything here is a frozen pydantic model that survives a JSON round trip, and holds recipes (`View`), never
pixels. The same types serve inference, evaluation and training, so that a reward sees exactly what the agent
saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

from .errors import ConfigError
from .source import ImageLike, Source
from .view import View

if TYPE_CHECKING:
    from PIL import Image


class Record(BaseModel):
    """A frozen value: the base of every model in this module."""

    model_config = ConfigDict(frozen=True)


class StopReason(StrEnum):
    """Why the loop ended. Only `ANSWERED` promises an answer.

    Where a limit ended it (`TURN_LIMIT`, `TOKEN_BUDGET`, `DEADLINE`, `REPEATED_CALL`, `MALFORMED`), a policy that can
    be made to answer has given its best answer all the same. `REFUSED`: the model or a content filter will not
    answer. `MISCONFIGURED`: nothing can be answered until a setting is mended.
    """

    ANSWERED = "answered"
    TURN_LIMIT = "turn_limit"
    TOKEN_BUDGET = "token_budget"
    DEADLINE = "deadline"
    REPEATED_CALL = "repeated_call"
    MALFORMED = "malformed"
    CONTEXT_FULL = "context_full"
    REFUSED = "refused"
    MISCONFIGURED = "misconfigured"
    POLICY_FAILED = "policy_failed"

    @property
    def failed(self) -> bool:
        """Whether no model had its say: there is nothing to score."""
        return self in (StopReason.POLICY_FAILED, StopReason.MISCONFIGURED)


class ProblemKind(StrEnum):
    """What was wrong with the text of a turn (the protocol's own outcomes, before any tool is looked up)."""

    BAD_JSON = "bad_json"
    BAD_CALL = "bad_call"
    UNCLOSED_CALL = "unclosed_call"
    UNCLOSED_ANSWER = "unclosed_answer"
    CALL_AND_ANSWER = "call_and_answer"
    TWO_ANSWERS = "two_answers"
    EMPTY_ANSWER = "empty_answer"
    NO_ACTION = "no_action"
    TOO_LONG = "too_long"


class Problem(Record):
    """A malformed turn. `message` is what the model is told: what was wrong and what to write instead."""

    kind: ProblemKind
    message: str


class FailureKind(StrEnum):
    """Why a well-formed call brought nothing back."""

    UNKNOWN_TOOL = "unknown_tool"
    BAD_ARGUMENTS = "bad_arguments"
    OUTSIDE_IMAGE = "outside_image"
    TIME_LIMIT = "time_limit"
    TOOL_RAISED = "tool_raised"
    REPEATED = "repeated"
    OVER_BUDGET = "over_budget"
    BAD_RESULT = "bad_result"


# A call that no tool could have understood. A box outside the image is well-formed: it is a wrong box.
ILL_FORMED_CALLS = frozenset({FailureKind.UNKNOWN_TOOL, FailureKind.BAD_ARGUMENTS})


class Failure(Record):
    """A call that failed. `message` is what the model is told: what was wrong and what to do next."""

    kind: FailureKind
    message: str


class ToolCall(Record):
    """The model's request. `arguments` are as the model wrote them, in the family's coordinates."""

    id: str
    name: str
    arguments: dict[str, Any] = {}


class Turn(Record):
    """One message of the model: a thought, then either calls or an answer; `problem` where it was malformed.

    `text` is the raw reply, unchanged. With a `problem`, `calls` is empty and `answer` is None. `seconds` is
    the policy's time; `requests` are two where a first reply was no answer and a limit asked for one.
    """

    kind: Literal["turn"] = "turn"
    text: str
    thought: str | None = None
    calls: tuple[ToolCall, ...] = ()
    answer: str | None = None
    problem: Problem | None = None
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    requests: int = 1


class Observation(Record):
    """What came back: a view, a text or a failure.

    `call` is None for a glance and for a malformed turn that is reported back. `image` is the 1-based number
    under which the view was shown, in order of appearance; `visual_tokens` is what the view cost in the
    family.
    """

    kind: Literal["observation"] = "observation"
    call: ToolCall | None = None
    view: View | None = None
    text: str | None = None
    failure: Failure | None = None
    visual_tokens: int = 0
    seconds: float = 0.0
    image: int | None = None


class Asked(Record):
    """A further question in the same thread: about the same images, with all that was seen and said before."""

    kind: Literal["asked"] = "asked"
    question: str


Step = Annotated[Turn | Observation | Asked, Field(discriminator="kind")]


class SourceRecord(Record):
    """What is remembered of an image: enough to recognise it (sha256 `digest`), not to rebuild it."""

    label: str
    digest: str
    size: tuple[int, int]


class Usage(Record):
    """What a question cost. Visual tokens count every view that was shown, the glance included.

    `full_resolution_tokens` is what the same images would have cost at full resolution. `glance_floored` says
    that the family's smallest accepted size made the asked glance fraction impossible. `cached_tokens` are those of
    the input that were read from a cache; `cost` is in US dollars, None where the model's price is not known.
    """

    visual_tokens: int = 0
    full_resolution_tokens: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    glance_floored: bool = False
    cost: float | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def saved(self) -> float:
        """Share of the full-resolution tokens not spent; negative where looking cost more than full."""
        return 1 - self.visual_tokens / self.full_resolution_tokens if self.full_resolution_tokens else 0.0


class Trajectory(Record):
    """The one record of a question: what was asked, seen, thought, called and answered, and why it ended.

    `steps` starts with one observation a source, the glances. `detail` says in words why it ended without
    answer. Of a thread with further questions (`Asked` steps), `question` is the first, answer and stop reason are the
    last one's, and usage is that of all of them. `seconds`: wall time of the last question, since it was resumed where
    it was.
    """

    id: str
    question: str
    sources: tuple[SourceRecord, ...]
    family: str
    tools: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    answer: str | None = None
    stop_reason: StopReason
    usage: Usage = Usage()
    seconds: float = 0.0
    detail: str | None = None

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The model's messages, in order."""
        return tuple(step for step in self.steps if isinstance(step, Turn))

    @property
    def observations(self) -> tuple[Observation, ...]:
        """What came back, in order, the glances first."""
        return tuple(step for step in self.steps if isinstance(step, Observation))

    @property
    def views(self) -> tuple[View, ...]:
        """Every view that was shown, in order: image n of the conversation is `views[n - 1]`."""
        return tuple(step.view for step in self.observations if step.view is not None)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """Every well-formed call, in order, whether or not it succeeded."""
        return tuple(call for turn in self.turns for call in turn.calls)

    def open_sources(self, images: Sequence[ImageLike | Source]) -> list[Source]:
        """The question's own images, opened, in their order.

        Raises `ConfigError` where an image is missing or is not the one that was asked about.
        """
        opened = [Source.open(image) for image in images]
        if len(opened) != len(self.sources):
            raise ConfigError(
                f"this trajectory was about {len(self.sources)} image(s), {len(opened)} given: pass the same images"
            )
        for number, (source, record) in enumerate(zip(opened, self.sources, strict=True), 1):
            if source.digest != record.digest:
                raise ConfigError(
                    f"image {number} ({source.label}) is not the one that was asked about ({record.label}): "
                    "pass the same file, unchanged"
                )
        return opened

    def replay(self, sources: Sequence[ImageLike | Source]) -> list[Image.Image]:
        """The images that the model was shown, byte for byte, from the question's own images in their order.

        Raises `ConfigError` where an image is missing or is not the one that was asked about.
        """
        opened = self.open_sources(sources)
        return [view.render(opened[view.source]) for view in self.views]
