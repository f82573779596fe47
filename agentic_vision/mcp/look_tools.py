"""`glance` and the visual tools, for a client that looks at images itself.

Every view that it is shown has a name, and whatever looks at an image looks at such a view as well. Boxes go from 0 to
1000 along either side of what is looked at, whatever the family: the client's model need not be of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio.to_thread
from mcp.types import CallToolResult, Tool

from ..errors import ConfigError
from ..messages import ToolCall
from ..source import Source
from ..toolbox import CallScope, Toolbox
from ..view import View
from ..visual_tokens import Family
from .results import Arguments, drawn, failed, said, shown, validated
from .roots import Roots, hints
from .shown import ShownViews

GLANCE, FRACTION = "glance", 0.25
AT_ONCE = 4  # images that are decoded at a time: each may take a quarter of a GiB

_VIEW = re.compile(r"view [0-9a-f]+")


class _GlanceArguments(Arguments):
    image: str


class LookTools:
    """The tools of `toolbox`, and `glance`, by the arithmetic of `family`, on the images of `roots`."""

    def __init__(self, toolbox: Toolbox, family: Family, roots: Roots) -> None:
        if GLANCE in toolbox.names:
            raise ConfigError(f"a visual tool is called {GLANCE}, as the first look is: leave it out of --tools")
        self._toolbox, self._roots = toolbox, roots
        self._family = replace(family, coordinates="per_mille")
        self._annotations = hints(roots)
        self._shown = ShownViews()
        self._room = anyio.CapacityLimiter(AT_ONCE)
        self.tools = [self._glance(), *self._visual()]

    async def call(self, client: str | None, name: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """What the tool shows to this client. Raises `AgenticVisionError` where an image cannot be shown."""
        if name == GLANCE:
            image, view = await self._opened(validated(GLANCE, _GlanceArguments, arguments).image)
            full = self._family.glance(image.size, FRACTION).full_tokens
            return await self._picture(client, view, image, f", of {full} at full resolution")
        if name not in self._toolbox.names:
            return failed(f"There is no tool {name[:100]!r}. The tools are: {', '.join(t.name for t in self.tools)}.")
        given = dict(arguments)
        asked = given.pop("image", None)
        if not isinstance(asked, str):
            return failed(f'{name}: say which image to look at: image="view 1", as it was named when it was shown.')
        image, view = await self._looked_at(client, asked)
        views = self._shown.of(client, image) or (view,)
        call = ToolCall(id=name, name=name, arguments={**given, "image": views.index(view) + 1})
        seen = await self._toolbox.run(call, CallScope(views, (image,), self._family, question=""))
        if seen.view is not None:
            return await self._picture(client, seen.view, image)
        return failed(seen.failure.message) if seen.failure else said(seen.text or "")

    async def _looked_at(self, client: str | None, asked: str) -> tuple[Source, View]:
        if not _VIEW.fullmatch(asked.strip().lower()):
            return await self._opened(asked)
        view, image = self._shown.find(client, asked.strip().lower())
        return image, view

    async def _opened(self, asked: str) -> tuple[Source, View]:
        """An image, and the glance at it."""
        image, size = await self._roots.aopen(asked, self._room)
        self._shown.keep(image, size)
        return image, View.whole(image.size, self._family.glance(image.size, FRACTION).size)

    async def _picture(self, client: str | None, view: View, image: Source, more: str = "") -> CallToolResult:
        (width, height), (wide, high) = image.size, view.size
        part = "all of it" if view.is_whole else f"its part {[round(side) for side in view.box.as_tuple()]}"
        about = f"{image.label}, {width} x {height} pixels: {part}, shown at {wide} x {high}"
        cost = f"{self._family.tokens(view.size)} visual tokens{more}"
        pixels = await anyio.to_thread.run_sync(drawn, view, image, limiter=self._room)
        # Only what could be drawn gets a name.
        return shown(pixels, f"{self._shown.add(client, view, image)} ({about}; {cost})")

    def _glance(self) -> Tool:
        image = {"type": "string", "description": f"The path of an image inside {self._roots}, or {self._roots.kinds}."}
        return Tool(
            name=GLANCE,
            description=(
                "Look at an image for the first time, at a quarter of its visual tokens. "
                "Answer if that suffices; else look closer with the other tools."
            ),
            input_schema={
                "type": "object",
                "properties": {"image": image},
                "required": ["image"],
                "additionalProperties": False,
            },
            annotations=self._annotations,
        )

    def _visual(self) -> list[Tool]:
        help = (
            'What to look at: a view, by the name that it was shown with, such as "view 1"; or an image, as for glance.'
        )
        tools = []
        for spec in self._toolbox.specs(self._family, several_images=False):
            properties = {"image": {"type": "string", "description": help}, **spec.schema["properties"]}
            required = ["image", *spec.schema.get("required", ())]
            schema = {**spec.schema, "properties": properties, "required": required}
            tools.append(
                Tool(name=spec.name, description=spec.description, input_schema=schema, annotations=self._annotations)
            )
        return tools
