"""A visual tool: a typed Python function from a view to a view, or to a text, that the model may call.

    @visual_tool
    def rotate(view: View, degrees: Literal[90, 180, 270]) -> View:
        \"\"\"Turn the image clockwise, for text that is sideways or upside down.\"\"\"
        return view.rotated(degrees)

The first parameter is the view that is looked at; the others are the arguments that the model gives, and the
docstring is what the model reads. A parameter annotated `Box` is given by the model as `[x0, y0, x1, y1]` in
its own coordinates and reaches the function in source pixels, clipped to the image. A parameter annotated
`ToolContext` is filled in by the agent. `async def` works too. To refuse a call, raise `ToolError(what was
wrong, what to do instead)`.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, WithJsonSchema, create_model
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError

from .docstring import split_docstring
from .errors import ConfigError
from .source import Source
from .view import Box, View
from .visual_tokens import Family

TIME_LIMIT = 10.0  # seconds; a tool that needs a network or a model of its own says more

MOST_IMAGES = 1_000_000  # beyond, `image` is no number of an image: Python does not even write out a very long one
_BOX_SCHEMA = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
_Box4 = Annotated[tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat], WithJsonSchema(_BOX_SCHEMA)]
_IMAGE_HELP = "Which image to look at: its number, in order of appearance from 1. Default: the latest image."


@dataclass(frozen=True)
class ToolContext:
    """What a tool may know beyond its arguments. `views` are all that were shown so far, in order."""

    family: Family
    views: tuple[View, ...]
    question: str
    source: Source  # of the view that is looked at: `view.render(context.source)` gives its pixels


class VisualTool:
    """A function made callable by the model: its name, description and arguments, and the time it may take.

    `schema` is the JSON schema of the arguments, `image` (which image to look at) left out; `arguments` is
    the pydantic model that validates them, `boxes` the names of those that are boxes. Calling the tool calls
    the function. Raises `ConfigError` where the signature or the docstring cannot make a tool.
    """

    def __init__(
        self, function: Callable[..., Any], *, name: str | None = None, time_limit: float = TIME_LIMIT
    ) -> None:
        if time_limit <= 0:
            raise ConfigError(f"time_limit={time_limit}: give the seconds that the tool may take")
        self.function = function
        written = _written(function)
        self.name: str = name if name is not None else str(getattr(function, "__name__", ""))
        if not self.name.isidentifier():
            raise ConfigError(f"{self.name!r} cannot be a tool's name: give one like name='zoom'")
        self.time_limit = time_limit
        self.description, argument_help = split_docstring(inspect.getdoc(written) or "")
        if not self.description:
            raise ConfigError(f"the tool {self.name} has no docstring: write there what it does")
        fields, self.boxes, self.context_parameter = _fields(self.name, function, written, argument_help)
        self.arguments = _arguments_model(self.name, fields)
        self.schema = _schema(self.arguments)
        self.__doc__ = written.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"VisualTool({self.name})"

    def schema_for(self, coordinates: str, *, several_images: bool) -> dict[str, Any]:
        """`schema` as a model reads it: with its coordinates, and with `image` where that is a choice."""
        properties = {name: dict(value) for name, value in self.schema["properties"].items()}
        for name in self.boxes:
            said = properties[name].get("description", "The region to look at.")
            properties[name]["description"] = f"{said} {coordinates}"
        if several_images:
            properties["image"] = {"type": "integer", "minimum": 1, "description": _IMAGE_HELP}
        return {**self.schema, "properties": properties}


@overload
def visual_tool(function: Callable[..., Any], /) -> VisualTool: ...
@overload
def visual_tool(
    *, name: str | None = None, time_limit: float = TIME_LIMIT
) -> Callable[[Callable[..., Any]], VisualTool]: ...
def visual_tool(
    function: Callable[..., Any] | None = None, /, *, name: str | None = None, time_limit: float = TIME_LIMIT
) -> VisualTool | Callable[[Callable[..., Any]], VisualTool]:
    """Make a typed function a tool; plain, or with options: `@visual_tool(time_limit=60)`.

    `time_limit` is in seconds. A function that runs over it is abandoned, not killed (Python cannot): its
    thread is a daemon, so it holds up neither the agent nor the end of the process. Raises `ConfigError`
    where the signature or the docstring cannot make a tool.
    """
    if function is not None:
        return VisualTool(function)
    return lambda decorated: VisualTool(decorated, name=name, time_limit=time_limit)


def _written(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where the annotations and the docstring of a callable stand: behind a partial, or in an object's `__call__`."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    call: Callable[..., Any] = type(function).__call__
    return call


def _fields(
    name: str, function: Callable[..., Any], written: Callable[..., Any], argument_help: Mapping[str, str]
) -> tuple[dict[str, Any], frozenset[str], str | None]:
    """The pydantic fields of the arguments, which are boxes, and the parameter that takes the context."""
    try:
        hints = get_type_hints(written, include_extras=True)
    except NameError as error:
        raise ConfigError(
            f"the annotations of the tool {name} cannot be resolved ({error}): import the types where the "
            "function's module can see them, not inside a function or under TYPE_CHECKING"
        ) from error
    bound = function.keywords if isinstance(function, functools.partial) else {}
    parameters = [one for one in inspect.signature(function).parameters.values() if one.name not in bound]
    if not parameters or hints.get(parameters[0].name, View) is not View:
        raise ConfigError(f"the tool {name} must take the view first: def {name}(view: View, ...)")
    fields: dict[str, Any] = {}
    boxes: set[str] = set()
    context: str | None = None
    for parameter in parameters[1:]:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(f"the tool {name} takes {parameter}: the model names every argument")
        if parameter.name not in hints:
            raise ConfigError(f"the tool {name} says no type for {parameter.name}: annotate it")
        if parameter.name == "image":
            raise ConfigError(f"the tool {name} has a parameter 'image', a reserved name: rename it")
        hint = hints[parameter.name]
        if hint is ToolContext:
            if context is not None:
                raise ConfigError(f"the tool {name} takes the context twice, as {context} and {parameter.name}")
            context = parameter.name
            continue
        hint, is_box = _without_box(hint)
        if is_box:
            boxes.add(parameter.name)
        elif _mentions_box(hint):
            raise ConfigError(f"the tool {name}: {parameter.name} may be a Box or Box | None, not {hint}")
        described = Field(description=argument_help.get(parameter.name))
        default = ... if parameter.default is parameter.empty else parameter.default
        if is_box and default is not ... and default is not None:
            raise ConfigError(
                f"the tool {name}: the default of {parameter.name} is a place in images that nobody has seen: give it "
                "the type Box | None and the default None"
            )
        fields[parameter.name] = (Annotated[hint, described] if described.description else hint, default)
    return fields, frozenset(boxes), context


def _without_box(hint: Any) -> tuple[Any, bool]:
    """`hint` with `Box`, `Box | None` and their annotated forms replaced by four numbers."""
    if hint is Box:
        return _Box4, True
    if get_origin(hint) is Annotated:
        inner, *extras = get_args(hint)
        inner, found = _without_box(inner)
        return (Annotated[(inner, *extras)], True) if found else (hint, False)
    if get_origin(hint) in (Union, types.UnionType) and set(get_args(hint)) == {Box, type(None)}:
        return _Box4 | None, True
    return hint, False


def _mentions_box(hint: Any) -> bool:
    return hint is Box or any(_mentions_box(inner) for inner in get_args(hint))


def _arguments_model(name: str, fields: dict[str, Any]) -> type[BaseModel]:
    config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
    fields = {**fields, "image": (Annotated[int, Field(ge=1, le=MOST_IMAGES)] | None, None)}
    try:
        arguments: type[BaseModel] = create_model(name, __config__=config, **fields)
        arguments.model_json_schema()
        return arguments
    except (PydanticSchemaGenerationError, PydanticInvalidForJsonSchema, NameError) as error:
        raise ConfigError(
            f"the tool {name} has an argument that no JSON can hold ({error}): use numbers, strings, "
            "Literal, lists, pydantic models or Box"
        ) from error


def _schema(arguments: type[BaseModel]) -> dict[str, Any]:
    schema = _untitled(arguments.model_json_schema())
    schema["properties"].pop("image")
    schema.pop("description", None)
    return dict(schema)


def _untitled(schema: Any) -> Any:
    """The schema without pydantic's titles: they repeat the names, and the model pays for each of them."""
    if isinstance(schema, dict):
        # A property may itself be called "title": its value is then a schema, not a string.
        kept = {key: value for key, value in schema.items() if key != "title" or not isinstance(value, str)}
        return {key: _untitled(value) for key, value in kept.items()}
    return [_untitled(item) for item in schema] if isinstance(schema, list) else schema
