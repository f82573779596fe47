"""How one question is asked under one strategy, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..agent import VisionAgent
from ..errors import ConfigError, ImageError, MisconfiguredError, RowError
from ..messages import StopReason
from ..policy import Policy
from ..rows import Row
from ..source import Source
from .outcomes import Outcome, Trouble
from .replies import Remembering, Replies, remembering
from .scoring import Scorer
from .scripted import ScriptedFirstTurn, scripted
from .strategies import Plan, Pruning, Strategy

REFUSED = 3  # questions that are turned away like a wrong setting, before it is one and not the questions


@dataclass
class _Agent:
    """An agent, and the layers around the policy that it asks."""

    agent: VisionAgent
    scripts: ScriptedFirstTurn | None
    memory: Remembering | None
    processed: float


@dataclass
class Asking:
    """What all questions of an evaluation share.

    `name`: the policy's, in the keys of `replies`. `glance`, `seed`, `tools` and `options` are `VisionAgent`'s.
    """

    policy: Policy
    scorer: Scorer
    name: str
    replies: Replies | None
    glance: float
    seed: int
    options: dict[str, Any]
    tools: Sequence[Any] | None
    _refused: int | None = None  # questions turned away one after another; None until one was answered
    _agents: dict[tuple[Any, ...], _Agent] = field(default_factory=dict)
    _policies: dict[Pruning, tuple[Policy, float]] = field(default_factory=dict)

    async def outcome(self, row: Row, strategy: Strategy, asked: str) -> Outcome:
        """Ask `row`, and score what is answered.

        Raises `MisconfiguredError` where no question can succeed: the first one, or several in a row.
        """
        how = strategy.plan(row)
        begun = Outcome.about(row, strategy.name, asked)
        with_ = self._agent(how)
        try:
            images = [await Source.aopen(image) for image in row.images]
            if with_.scripts is not None and how.script is not None:
                with_.scripts.script(row.prompt, images, how.script)
            trajectory = (await with_.agent.aask(images, row.prompt)).trajectory
        except (ConfigError, ImageError) as error:
            return begun.model_copy(update={"trouble": Trouble.BAD_ROW, "detail": str(error)})
        except Exception as error:  # of a policy or a tool of others: its type is half of the message
            detail = f"{type(error).__name__}: {error}"
            return begun.model_copy(update={"trouble": Trouble.POLICY_FAILED, "detail": detail})
        if trajectory.stop_reason is StopReason.MISCONFIGURED:
            if self._refused is None or self._refused >= REFUSED:
                raise MisconfiguredError(trajectory.detail or "nothing can be answered until a setting is mended")
            self._refused += 1  # others were answered with these settings: it may be this row
        elif trajectory.stop_reason is not StopReason.POLICY_FAILED:
            self._refused = 0
        remembered = with_.memory is not None and with_.memory.recalled(trajectory.id)
        forced = how.script is not None
        ended = begun.with_(trajectory, row, forced=forced, processed=with_.processed, remembered=remembered)
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
        trouble = Trouble.NO_VERDICT if score is None else None
        return outcome.model_copy(update={"score": score, "trouble": trouble, "detail": reason})

    def _agent(self, how: Plan) -> _Agent:
        """The agent that asks like this: rows differ in their scripts at most."""
        key = (how.tools, how.share, how.script is not None, how.pruning)
        if key not in self._agents:
            policy, processed = self.pruned(how.pruning)
            memory = scripts = None
            if self.replies is not None:
                policy = memory = remembering(policy, self.replies, f"{self.name} {how.pruning or ''}")
            if how.script is not None:
                policy = scripts = scripted(policy)
            agent = VisionAgent(
                policy,
                tools=self.tools if how.tools else [],
                glance=how.share or self.glance,
                seed=self.seed,
                **self.options,
            )
            self._agents[key] = _Agent(agent, scripts, memory, processed)
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
