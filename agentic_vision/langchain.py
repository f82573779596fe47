"""Between this library and LangChain: tools both ways, and the agent as a node or as a tool of another agent.

    graph.add_node("look", agent_node(agent))                      # messages in, the answer as a message out
    create_agent(model, tools=[agent_tool(agent)])                 # another agent asks ours of the images it was sent
    create_agent(model, tools=langchain_tools(["receipt.jpg"]))    # another agent looks by itself
    VisionAgent(tools=["zoom_crop", visual_tool_of(ocr)])          # our agent calls LangChain's tool

`agent.graph` is itself a compiled LangGraph graph, to be added as a subgraph: `{"question": ..., "images": [paths]}`.
A chat model of LangChain's as the policy is `policies.langchain.LangChainPolicy`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.prebuilt import InjectedState
from pydantic import BaseModel, Field, WithJsonSchema

from . import sync
from .errors import ConfigError, ImageError
from .messages import Observation, ToolCall
from .policies.image_bytes import ImageBytes
from .policies.langchain_messages import image_block, images_of
from .policy import ImagePart
from .source import ImageLike, Source
from .tool import TIME_LIMIT, ToolContext, VisualTool
from .toolbox import CallScope, Toolbox
from .view import View
from .visual_tokens import family as family_named

if TYPE_CHECKING:
    from .agent import VisionAgent
    from .result import Result

NO_IMAGE = "There is no image in this conversation: ask the user for one."


def agent_node(agent: VisionAgent) -> Callable[[dict[str, Any]], Awaitable[dict[str, list[AnyMessage]]]]:
    """The agent as a node of a graph whose state has `messages`: it answers the last human message.

    It sees all images of the conversation. The message that it adds has the trajectory as JSON in
    `response_metadata["trajectory"]`. The node raises `ConfigError` where nobody asks, and `ImageError` where there is
    no image.
    """

    async def look(state: dict[str, Any]) -> dict[str, list[AnyMessage]]:
        said = state["messages"]
        asked = [message for message in said if isinstance(message, HumanMessage)]
        if not asked:
            raise ConfigError("the state has no human message: put the question there, HumanMessage(...)")
        images = images_of(said)
        if not images:
            raise ImageError("the messages have no image: send one as a content block with the question")
        result = await agent.aask(images, asked[-1].text)
        return {"messages": [_message(result)]}

    return look


def agent_tool(
    agent: VisionAgent, images: Sequence[ImageLike | Source] | None = None, *, name: str = "look_at_image"
) -> BaseTool:
    """The agent as a tool of another agent, which asks it questions about `images`.

    None: about the images in the other agent's own conversation (a LangGraph state with `messages`).
    """
    given = None if images is None else [Source.open(image) for image in images]

    async def answer(question: str, image: int | None, sources: list[Source]) -> str:
        if not sources:
            raise ToolException(NO_IMAGE)
        if image is not None and not 1 <= image <= len(sources):
            raise ToolException(f"There is no image {image}: there are images 1 to {len(sources)}.")
        try:
            result = await agent.aask(sources if image is None else [sources[image - 1]], question)
        except (ConfigError, ImageError) as error:  # an empty question, an image that is damaged further in
            raise ToolException(str(error)) from error
        if result.answer is None:
            raise ToolException(f"There is no answer ({result.trajectory.detail or result.stop_reason}).")
        return result.answer

    async def of_given(question: str, image: int | None = None) -> str:
        return await answer(question, image, given or [])

    async def of_conversation(
        question: str, state: Annotated[dict[str, Any], InjectedState], image: int | None = None
    ) -> str:
        try:
            return await answer(question, image, images_of(state["messages"]))
        except ImageError as error:
            raise ToolException(str(error)) from error

    function = of_conversation if given is None else of_given
    # LangGraph reads what is injected from the annotations themselves, not from their text.
    function.__annotations__ = inspect.get_annotations(function, globals=globals(), locals=locals(), eval_str=True)
    description = (
        "Ask one precise question about the images, answered by an agent that looks closer where it must. "
        "`image` is the number of one image, from 1; leave it out to ask about all."
    )
    return StructuredTool.from_function(
        func=_blocking(function),
        coroutine=function,
        name=name,
        description=description,
        handle_tool_error=True,
    )


def langchain_tools(
    images: Sequence[ImageLike | Source],
    tools: Toolbox | Iterable[str | VisualTool | Callable[..., Any]] | None = None,
    *,
    family: str = "qwen3-vl",
    glance: float = 0.25,
) -> list[BaseTool]:
    """`glance` and the visual tools, as LangChain's, on these images; what they show is shown as content blocks.

    `family`: whose visual tokens are counted, and whose coordinates the boxes are in. The views are numbered on from
    the glances, for all who share the list.
    """
    looking = _Looking([Source.open(image) for image in images], Toolbox.of(tools), family, glance)
    return looking.tools()


def visual_tool_of(tool: BaseTool, *, time_limit: float = TIME_LIMIT) -> VisualTool:
    """LangChain's tool as a visual tool. An argument `image` of it is filled in with the view, as a `data:` URI.

    What it returns is shown to the model as text.
    """
    fields = _fields(tool)
    takes_image = fields.pop("image", None) is not None
    encode = ImageBytes()

    # Our two parameters are named as no argument of a model can be.
    async def function(_view: View, /, **arguments: Any) -> str:
        context: ToolContext = arguments.pop("_context")
        if takes_image:
            arguments["image"] = encode.data_uri(ImagePart(view=_view, source=context.source))
        return str(await tool.ainvoke({name: value for name, value in arguments.items() if value is not None}))

    parameters = [inspect.Parameter("_view", inspect.Parameter.POSITIONAL_ONLY, annotation=View)]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=hint, default=default)
        for name, (hint, default) in {**fields, "_context": (ToolContext, inspect.Parameter.empty)}.items()
    ]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    function.__doc__ = tool.description
    return VisualTool(function, name=tool.name, time_limit=time_limit)


class _Looking:
    """The views that were shown through one list of tools."""

    def __init__(self, sources: list[Source], toolbox: Toolbox, family: str, glance: float) -> None:
        if not sources:
            raise ConfigError("there is no image: give one, or a list of them")
        self._sources, self._toolbox, self._family = sources, toolbox, family_named(family)
        self._views = [
            View.whole(source.size, self._family.glance(source.size, glance).size, number)
            for number, source in enumerate(sources)
        ]
        self._encode = ImageBytes()

    def tools(self) -> list[BaseTool]:
        def glance() -> list[Any]:
            """Look at all images at a reduced resolution. Do this first."""
            return [block for number in range(len(self._sources)) for block in self._shown(number + 1, "glance")]

        specs = self._toolbox.specs(self._family, several_images=True)
        made: list[BaseTool] = [StructuredTool.from_function(glance)]
        return made + [self._tool(spec.name, spec.description, spec.schema) for spec in specs]

    def _tool(self, name: str, description: str, schema: dict[str, Any]) -> BaseTool:
        async def call(**arguments: Any) -> list[Any] | str:
            look = CallScope(tuple(self._views), self._sources, self._family, "")
            seen = await self._toolbox.run(ToolCall(id=name, name=name, arguments=arguments), look)
            return self._result(seen)

        return StructuredTool(
            name=name,
            description=description,
            args_schema=schema,
            func=_blocking(call),
            coroutine=call,
            handle_tool_error=True,
        )

    def _result(self, seen: Observation) -> list[Any] | str:
        if seen.failure is not None:
            raise ToolException(seen.failure.message)
        if seen.view is None:
            return seen.text or ""
        self._views.append(seen.view)
        return self._shown(len(self._views), seen.call.name if seen.call else "")

    def _shown(self, number: int, by: str) -> list[Any]:
        view = self._views[number - 1]
        width, height = view.size
        cost = self._family.tokens(view.size)
        said = f"Image {number}, from {by}, {width} x {height} pixels, {cost} visual tokens:"
        part = ImagePart(view=view, source=self._sources[view.source])
        return [{"type": "text", "text": said}, image_block(self._encode.data_uri(part))]


def _message(result: Result) -> AIMessage:
    spent = result.usage
    return AIMessage(
        content=result.answer or f"I have no answer: {result.trajectory.detail or result.stop_reason}",
        usage_metadata={
            "input_tokens": spent.input_tokens,
            "output_tokens": spent.output_tokens,
            "total_tokens": spent.input_tokens + spent.output_tokens,
        },
        response_metadata={
            "stop_reason": result.stop_reason.value,
            "trajectory": result.trajectory.model_dump(mode="json"),
        },
    )


def _blocking(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return sync.run(function(*args, **kwargs))

    call.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    call.__annotations__ = function.__annotations__
    call.__name__, call.__doc__ = function.__name__, function.__doc__
    return call


def _fields(tool: BaseTool) -> dict[str, tuple[Any, Any]]:
    """What the model gives the tool: a name -> its type and its default."""
    schema = tool.tool_call_schema
    if isinstance(schema, dict):
        required = schema.get("required", ())
        return {
            name: (
                Annotated[Any, WithJsonSchema(said), Field(description=said.get("description"))],
                inspect.Parameter.empty if name in required else said.get("default"),
            )
            for name, said in schema.get("properties", {}).items()
        }
    if not issubclass(schema, BaseModel):
        raise ConfigError(f"the tool {tool.name} has a schema of pydantic 1: make it one of pydantic 2")
    return {
        name: (
            Annotated[field.annotation, Field(description=field.description)],
            inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True),
        )
        for name, field in schema.model_fields.items()
    }
