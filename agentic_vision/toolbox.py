"""Which tools has the model, and what comes back from a call? A `Toolbox` finds, describes and runs them.

Names are looked up in the entry-point group `agentic_vision.tools`, the door that the built-in tools use as
well. A call never raises: an unknown tool, wrong arguments, a box outside the image, a tool that is slow or
broken, each comes back as an observation with a typed failure whose message tells the model what to do next.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel, ValidationError

from .errors import ConfigError, ToolError
from .limited import LateError, Limited
from .messages import Failure, FailureKind, Observation, ToolCall
from .policy import ToolSpec
from .source import Source
from .tool import ToolContext, VisualTool
from .view import Box, View
from .visual_tokens import Family

GROUP = "agentic_vision.tools"
DEFAULT_TOOLS = ("zoom_crop", "full_res", "resize")
MAX_TEXT = 8000  # characters of a tool's text that the model is shown

_ADVICE = "Correct the call, or answer with what you have seen."


@dataclass(frozen=True)
class CallScope:
    """What calls refer to: the images shown so far (one or more), their sources, the model's family."""

    views: Sequence[View]
    sources: Sequence[Source]
    family: Family
    question: str


class _RefusedError(Exception):
    """A call that failed, on its way to becoming an observation."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(kind=kind, message=message)


def installed_tools() -> dict[str, tuple[EntryPoint, ...]]:
    """Every tool that an installed package offers, by name, not loaded yet: several where packages clash."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def packages(points: Iterable[EntryPoint]) -> str:
    """The names of the packages that these tools come from."""
    return " and ".join(sorted(point.dist.name if point.dist else point.value for point in points))


class Toolbox:
    """The enabled tools, in the order given. Raises `ConfigError` where two have the same name."""

    def __init__(self, tools: Iterable[VisualTool] = ()) -> None:
        self.tools: dict[str, VisualTool] = {}
        for tool in tools:
            if tool.name in self.tools:
                raise ConfigError(f"two tools are called {tool.name}: rename one, @visual_tool(name=...)")
            self.tools[tool.name] = tool
        self._limited = {name: Limited() for name in self.tools}

    @classmethod
    def of(cls, tools: Toolbox | Iterable[str | VisualTool | Callable[..., Any]] | None = None) -> Toolbox:
        """A toolbox of names, tools and plain typed functions; of the default tools for None.

        Raises `ConfigError` for a name that no installed package offers or several do, and for what cannot be a tool.
        """
        if isinstance(tools, Toolbox):
            return tools
        if isinstance(tools, str) or callable(tools):
            raise ConfigError(f"tools={tools!r} is one tool: give a list, tools=[...]")
        installed = installed_tools()
        return cls(_tool(item, installed) for item in (DEFAULT_TOOLS if tools is None else tools))

    def __iter__(self) -> Iterator[VisualTool]:
        return iter(self.tools.values())

    def __len__(self) -> int:
        return len(self.tools)

    @property
    def names(self) -> tuple[str, ...]:
        """The tools' names, in order."""
        return tuple(self.tools)

    def specs(self, family: Family, *, several_images: bool) -> tuple[ToolSpec, ...]:
        """What the model is told of the tools; `several_images` adds the argument `image`."""
        said = _coordinates_help(family)
        return tuple(
            ToolSpec(
                name=tool.name,
                description=tool.description,
                schema=tool.schema_for(said, several_images=several_images),
            )
            for tool in self
        )

    def fingerprint(self, call: ToolCall, shown: int) -> tuple[str, str]:
        """What makes a call the same as another: its name, and its arguments with the defaults filled in.

        `shown` is the number of images at the time, since `image` means the latest one by default.
        """
        tool = self.tools.get(call.name)
        if tool is not None:
            with contextlib.suppress(
                Exception, SystemExit
            ):  # wrong arguments, or an author's validator that broke: `run` tells
                arguments = tool.arguments.model_validate(call.arguments)
                image = getattr(arguments, "image", None) or shown
                return call.name, arguments.model_copy(update={"image": image}).model_dump_json()
        return call.name, repr(sorted(call.arguments.items()))

    async def run(self, call: ToolCall, look: CallScope, *, time_limit: float | None = None) -> Observation:
        """Run one call. A view is fitted to the family; its cost and number are the agent's to add.

        `time_limit` (seconds) shortens the tool's own limit.
        """
        started = time.perf_counter()
        try:
            result = await self._result(call, look, time_limit)
        except _RefusedError as refused:
            result = refused.failure
        return Observation(
            call=call,
            view=result if isinstance(result, View) else None,
            text=result if isinstance(result, str) else None,
            failure=result if isinstance(result, Failure) else None,
            seconds=time.perf_counter() - started,
        )

    async def _result(self, call: ToolCall, look: CallScope, time_limit: float | None) -> View | str | Failure:
        tool = self.tools.get(call.name)
        if tool is None:
            known = f"The tools are: {', '.join(self.names)}. {_ADVICE}" if self.tools else "There are none."
            raise _RefusedError(FailureKind.UNKNOWN_TOOL, f"There is no tool {call.name[:100]!r}. {known}")
        arguments = _validated(tool, call)
        view = _looked_at(tool, arguments, look)
        given = {name: getattr(arguments, name) for name in type(arguments).model_fields if name != "image"}
        for name in tool.boxes:
            if given[name] is not None:
                given[name] = _source_box(tool, name, given[name], view, look.family)
        if tool.context_parameter:
            given[tool.context_parameter] = ToolContext(
                look.family, tuple(look.views), look.question, look.sources[view.source]
            )
        limit = min(tool.time_limit, time_limit if time_limit is not None else tool.time_limit)
        try:
            result = await self._limited[tool.name].call(partial(tool.function, view, **given), limit)
        except LateError:
            raise _RefusedError(
                FailureKind.TIME_LIMIT,
                f"{tool.name} took longer than {limit:g} s and was given up. Use another tool, or answer.",
            ) from None
        except ToolError as error:
            parts = (str(error), error.hint or _ADVICE)
            said = " ".join(f"{part.rstrip('.')}." for part in parts)
            raise _RefusedError(FailureKind.TOOL_RAISED, f"{tool.name}: {said}") from error
        except Exception as error:
            raise _broke(tool, error) from error
        return _checked(tool, result, look)


def _coordinates_help(family: Family) -> str:
    """How the model writes a box."""
    unit = "in pixels of that image" if family.coordinates == "pixels" else "from 0 to 1000"
    return f"[x0, y0, x1, y1] (left, top, right, bottom), {unit}, relative to the image that is looked at."


def _tool(item: str | VisualTool | Callable[..., Any], installed: dict[str, tuple[EntryPoint, ...]]) -> VisualTool:
    if isinstance(item, VisualTool):
        return item
    if not isinstance(item, str):
        if not callable(item):
            raise ConfigError(f"{item!r} is not a tool: give a name, or a function with @visual_tool")
        return VisualTool(item)
    if item not in installed:
        known = ", ".join(installed) or "none: install the package, pip install agentic-vision"
        raise ConfigError(f"there is no tool {item!r}; installed are {known}")
    if len(installed[item]) > 1:
        raise ConfigError(f"{packages(installed[item])} each have a tool {item!r}: uninstall all but one of them")
    (point,) = installed[item]
    try:
        loaded = point.load()
    except (Exception, SystemExit) as error:
        raise ConfigError(f"the tool {item} cannot be loaded ({point.value}): {error}") from error
    if isinstance(loaded, str):
        raise ConfigError(f"the tool {item} ({point.value}) is a text, not a function")
    return _tool(loaded, {})


def _validated(tool: VisualTool, call: ToolCall) -> BaseModel:
    try:
        return tool.arguments.model_validate(call.arguments)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in problems[:3])
        wrong += f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        required = set(tool.schema.get("required", ()))
        takes = [name if name in required else f"{name} (optional)" for name in tool.schema["properties"]]
        raise _RefusedError(
            FailureKind.BAD_ARGUMENTS,
            f"{tool.name}: {wrong}. Its arguments: {', '.join(takes) or 'none'}. {_ADVICE}",
        ) from error
    except (Exception, SystemExit) as error:  # from a validator that the tool's author wrote
        raise _broke(tool, error) from error


def _broke(tool: VisualTool, error: BaseException) -> _RefusedError:
    try:
        said = str(error)[:300]
    except Exception:  # its author's too
        said = "and it cannot say why"
    return _RefusedError(
        FailureKind.TOOL_RAISED,
        f"{tool.name} failed ({type(error).__name__}: {said}). "
        "Try other arguments or another tool, or answer with what you have seen.",
    )


def _looked_at(tool: VisualTool, arguments: BaseModel, look: CallScope) -> View:
    number = getattr(arguments, "image", None) or len(look.views)
    if number > len(look.views):
        raise _RefusedError(
            FailureKind.BAD_ARGUMENTS,
            f"{tool.name}: there is no image {number}; images 1 to {len(look.views)} were shown. {_ADVICE}",
        )
    return look.views[number - 1]


def _source_box(tool: VisualTool, name: str, corners: Sequence[float], view: View, family: Family) -> Box:
    """What the model wrote, in its coordinates on `view`, as a box in source pixels inside that window."""
    x0, y0, x1, y1 = corners
    ends = family.from_fractions((0, 0, 1, 1), view.size)
    valid = f"x from {ends[0]} to {ends[2]} and y from {ends[1]} to {ends[3]}"
    if x0 >= x1 or y0 >= y1:
        raise _RefusedError(
            FailureKind.BAD_ARGUMENTS,
            f"{tool.name}: {name} is [x0, y0, x1, y1] with x0 < x1 and y0 < y1, {valid}. {_ADVICE}",
        )
    fractions = family.to_fractions((x0, y0, x1, y1), view.size)
    width, height = view.size
    # Clipped before the mapping: beyond 0 to 1 is outside the image that is looked at, be it a crop or
    # turned.
    left, top, right, bottom = (min(max(part, 0.0), 1.0) for part in fractions)
    try:
        box = view.to_source((left * width, top * height, right * width, bottom * height))
        inside = box.intersect(view.box)
    except ValueError:  # nothing is left of it
        inside = None
    if inside is None:
        raise _RefusedError(
            FailureKind.OUTSIDE_IMAGE,
            f"{tool.name}: {name} lies outside the image; it can reach {valid}. {_ADVICE}",
        )
    return inside


def _checked(tool: VisualTool, result: object, look: CallScope) -> View | str:
    """The result as it may be shown; refuses what cannot be replayed."""
    if isinstance(result, str) and result.strip():
        return result if len(result) <= MAX_TEXT else f"{result[:MAX_TEXT]} ... (cut)"
    if not isinstance(result, View):
        what = "an empty text" if isinstance(result, str) else f"a {type(result).__name__}"
        raise _RefusedError(
            FailureKind.BAD_RESULT,
            f"{tool.name} returned {what}, where a View or a text was due. Use another tool, or answer.",
        )
    if result.source >= len(look.sources) or result.source_size != look.sources[result.source].size:
        raise _RefusedError(
            FailureKind.BAD_RESULT,
            f"{tool.name} returned a view of an unknown image. Use another tool, or answer.",
        )
    try:
        return result.resized(look.family.full(result.size))
    except ValueError as error:
        width, height = result.size
        raise _RefusedError(
            FailureKind.BAD_RESULT,
            f"{tool.name}: a view of {width} x {height} pixels cannot be shown ({error}). {_ADVICE}",
        ) from error
