"""A vision agent that glances, looks again only when it must, and answers.

`from agentic_vision import VisionAgent` is the way in. Names are imported when they are first used, so that
`import agentic_vision` stays quick and what needs only a `View` never loads the agent's graph.
"""

import logging
from importlib import import_module
from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

# With a plain install, Python started in the repository finds the core here but tools/ and training/ (which
# are agentic_vision.tools and agentic_vision.training once installed) only in site-packages: look in both.
__path__ = extend_path(__path__, __name__)

# Its log is the application's to show: without this, Python would print warnings where nobody has asked for a log.
logging.getLogger(__name__).addHandler(logging.NullHandler())

if TYPE_CHECKING:
    from agentic_vision.agent import Result as Result
    from agentic_vision.agent import VisionAgent as VisionAgent
    from agentic_vision.errors import AgenticVisionError as AgenticVisionError
    from agentic_vision.errors import ConfigError as ConfigError
    from agentic_vision.errors import ImageError as ImageError
    from agentic_vision.errors import PolicyError as PolicyError
    from agentic_vision.errors import ToolError as ToolError
    from agentic_vision.messages import Observation as Observation
    from agentic_vision.messages import StopReason as StopReason
    from agentic_vision.messages import ToolCall as ToolCall
    from agentic_vision.messages import Trajectory as Trajectory
    from agentic_vision.messages import Turn as Turn
    from agentic_vision.messages import Usage as Usage
    from agentic_vision.policy import Policy as Policy
    from agentic_vision.policy import Reply as Reply
    from agentic_vision.source import Source as Source
    from agentic_vision.tool import ToolContext as ToolContext
    from agentic_vision.tool import VisualTool as VisualTool
    from agentic_vision.tool import visual_tool as visual_tool
    from agentic_vision.toolbox import Toolbox as Toolbox
    from agentic_vision.view import Box as Box
    from agentic_vision.view import View as View
    from agentic_vision.visual_tokens import Family as Family
    from agentic_vision.visual_tokens import family as family

_HOMES = {
    "agent": ("Result", "VisionAgent"),
    "errors": ("AgenticVisionError", "ConfigError", "ImageError", "PolicyError", "ToolError"),
    "messages": ("Observation", "StopReason", "ToolCall", "Trajectory", "Turn", "Usage"),
    "policy": ("Policy", "Reply"),
    "source": ("Source",),
    "tool": ("ToolContext", "VisualTool", "visual_tool"),
    "toolbox": ("Toolbox",),
    "view": ("Box", "View"),
    "visual_tokens": ("Family", "family"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'agentic_vision' has no attribute {name!r}; it exports {', '.join(__all__)}")
    value = getattr(import_module(f"agentic_vision.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
