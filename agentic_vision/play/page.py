"""The page itself: what a visitor finds before anything was asked. Its look is in `play.html` and `play.css`."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template

from ..image_limits import ImageLimits
from ..page import style
from .agents import Agents
from .examples import EXAMPLES
from .page_question import MOST_QUESTION


def page_html(agents: Agents, model: str) -> str:
    """The page of these agents, whose policy is called `model`."""
    return Template(_text("play.html")).substitute(
        model=escape(model),
        most_bytes=ImageLimits.current().max_image_bytes,
        most_question=MOST_QUESTION,
        examples="".join(_example(name, example.question) for name, example in EXAMPLES.items()),
        tools="".join(
            _tool(name, tool.description, ticked=name in agents.agent.toolbox.tools)
            for name, tool in agents.offered.items()
        ),
    )


def stylesheet() -> str:
    """Of the page and of the traces on it."""
    return style("page.css", "trace.css", "play/play.css")


def script() -> str:
    """Sends the question, and shows what comes back."""
    return _text("play.js")


def _example(name: str, question: str) -> str:
    return (
        f'<button type="button" class="example" data-name="{escape(name)}" data-question="{escape(question)}" '
        f'title="{escape(question)}"><img src="/examples/{escape(name)}.png" alt="">{escape(name)}</button>'
    )


def _tool(name: str, description: str, *, ticked: bool) -> str:
    return (
        f'<label title="{escape(description)}"><input type="checkbox" name="tool" value="{escape(name)}"'
        f"{' checked' if ticked else ''}><code>{escape(name)}</code></label>"
    )


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
