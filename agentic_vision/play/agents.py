"""Which agent answers? One policy, with the tools that the visitor ticked, or at full resolution without any."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..agent import VisionAgent
from ..errors import ConfigError
from ..tool import VisualTool
from ..toolbox import Toolbox, installed_tools, packages

logger = logging.getLogger(__name__)


class Agents:
    """Agents that share the policy and the limits of `agent`, whose tools are ticked at first."""

    def __init__(self, agent: VisionAgent) -> None:
        self.agent = agent
        self.offered = {**agent.toolbox.tools, **_others(agent.toolbox.tools)}
        self._made = {agent.toolbox.names: agent}
        # Full resolution is what a budget is there to save: it would only make the glance smaller.
        unbounded = {**agent.settings, "tools": [], "glance": 1.0, "max_visual_tokens": None}
        self.full = VisionAgent(agent.policy, **unbounded)

    def using(self, names: Iterable[str]) -> VisionAgent:
        """The agent with these tools. Raises `ConfigError` for one that is not offered."""
        wanted = set(names)
        if unknown := wanted - set(self.offered):
            raise ConfigError(
                f"there is no tool {min(unknown)!r} here: choose from {', '.join(self.offered) or 'none at all'}"
            )
        chosen = tuple(name for name in self.offered if name in wanted)
        if chosen not in self._made:
            tools = [self.offered[name] for name in chosen]
            self._made[chosen] = VisionAgent(self.agent.policy, **{**self.agent.settings, "tools": tools})
        return self._made[chosen]


def _others(ours: Iterable[str]) -> dict[str, VisualTool]:
    """The tools of installed packages beside `ours`, as far as they can be loaded."""
    found: dict[str, VisualTool] = {}
    for name, points in installed_tools().items():
        if name in ours:
            continue
        try:
            found |= Toolbox.of([name]).tools
        except (Exception, SystemExit) as error:  # whatever a package of others raises when it is imported
            logger.warning("the tool %r of %s cannot be loaded (%s): left out", name, packages(points), error)
    return found
