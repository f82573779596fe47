"""How one question is asked under one strategy, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..agent import VisionAgent
from ..errors import AgenticVisionError, ConfigError, ImageError, RowError
from ..messages import StopReason
from ..policy import Policy
from ..rows import Row
from ..same_settings import policy_settings
from ..toolbox import Toolbox
from .outcomes import Outcome, Trouble
from .replies import Remembering, Replies, remembering
from .scoring import Scorer
from .scripted import first_turn, scripted
from .strategies import Plan, Pruning, Strategy


@dataclass
class _Agent:
    """An agent, and the layers around the policy that it asks."""

    agent: VisionAgent
    memory: Remembering | None
    processed: float


@dataclass
class Asking:
    """What all questions of an evaluation share.

    `name`: the policy's. `glance`, `seed`, `tools` and `options` are `VisionAgent`'s.
    """

    policy: Policy
    scorer: Scorer
    name: str
    replies: Replies | None
    glance: float
    seed: int
    options: dict[str, Any]
    tools: Sequence[Any] | None
    _agents: dict[tuple[Any, ...], _Agent] = field(default_factory=dict)
    _policies: dict[Pruning, tuple[Policy, float]] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides over the outcomes, as JSON."""
        return {
            **policy_settings(self.policy, self.name),
            "scoring": self.scorer.name,
            "tools": list(Toolbox.of(self.tools).names) if self.tools is not None else None,
            "glance": self.glance,
            **self.options,
            "seed": self.seed,
        }

    async def outcome(self, row: Row, strategy: Strategy, asked: str) -> Outcome:
        """Ask `row`, and score what is answered."""
        how = strategy.plan(row)
        begun = Outcome.about(row, strategy.name, asked)
        layers = self._agent(how)
        first_turn.set(how.script)
        try:
            self.scorer.check(row)
            trajectory = (await layers.agent.aask(list(row.images), row.prompt)).trajectory
        except (ConfigError, ImageError) as error:
            return begun.model_copy(update={"trouble": Trouble.BAD_ROW, "detail": str(error)})
        except Exception as error:  # of a policy or a tool of others: its type is half of the message
            return begun.model_copy(update={"trouble": Trouble.POLICY_FAILED, "detail": _told(error)})
        remembered = layers.memory is not None and layers.memory.recalled(trajectory.id)
        forced = how.script is not None
        ended = begun.ended_as(trajectory, row, forced=forced, processed=layers.processed, remembered=remembered)
        if trajectory.stop_reason in (StopReason.POLICY_FAILED, StopReason.MISCONFIGURED):
            return ended.model_copy(update={"trouble": Trouble.POLICY_FAILED, "detail": trajectory.detail})
        return await self.scored(row, ended)

    async def scored(self, row: Row, outcome: Outcome) -> Outcome:
        """`outcome` with its score: 0 for no answer, whatever the reason; or in trouble, without a verdict."""
        if outcome.answer is None:
            return outcome.model_copy(update={"score": 0.0, "trouble": None, "detail": None})
        try:
            score, reason = await self.scorer.score(row, outcome.answer)
        except RowError as error:
            return outcome.model_copy(update={"trouble": Trouble.BAD_ROW, "detail": str(error)})
        except AgenticVisionError:  # no answer can be scored
            raise
        except Exception as error:  # this answer is more than the rule can bear
            score, reason = None, _told(error)
        trouble = Trouble.NO_VERDICT if score is None else None
        return outcome.model_copy(update={"score": score, "trouble": trouble, "detail": reason})

    def _agent(self, how: Plan) -> _Agent:
        """The agent that asks like this: rows differ in their scripts at most."""
        key = (how.tools, how.share, how.script is not None, how.pruning)
        if key not in self._agents:
            policy, processed = self.pruned(how.pruning)
            memory = None
            if self.replies is not None:
                name = json.dumps(policy_settings(policy, self.name), sort_keys=True)
                policy = memory = remembering(policy, self.replies, name)
            if how.script is not None:
                policy = scripted(policy)
            agent = VisionAgent(
                policy,
                tools=self.tools if how.tools else [],
                glance=how.share or self.glance,
                seed=self.seed,
                **self.options,
            )
            self._agents[key] = _Agent(agent, memory, processed)
        return self._agents[key]

    def pruned(self, pruning: Pruning | None) -> tuple[Policy, float]:
        """The policy whose views are pruned like this, and the share of the tokens that it works on.

        Raises `ConfigError` where this policy cannot be.
        """
        if pruning is None:
            return self.policy, 1.0
        if pruning not in self._policies:
            from ..policies.pruned import PrunedPolicy

            weights: Any = self.policy  # whatever it is: those that cannot be pruned are told so
            policy = PrunedPolicy.of(weights, pruning.method, kept=pruning.kept)
            self._policies[pruning] = policy, policy.processed_share
        return self._policies[pruning]


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
