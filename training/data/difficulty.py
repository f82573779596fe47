"""Which questions need a look, and which do not? The filter of VisionThink (arXiv 2507.13348, section 3.5).

Every question is answered n times at the glance and n times at full resolution. What full resolution answers and the
glance does not needs a call; what the glance answers does not; what neither answers, or is answered by chance, is
dropped.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from agentic_vision import VisionAgent
from agentic_vision.errors import ConfigError, PolicyError
from agentic_vision.matching import matcher
from agentic_vision.messages import Trajectory
from agentic_vision.only_writer import only_writer
from agentic_vision.policy import Policy
from agentic_vision.rows import Row
from agentic_vision.same_settings import differences, policy_settings
from agentic_vision.whole_file import Lines, write_whole

from ..rewards.judge import JudgeReward
from ..rewards.reward import Group, Reward, parts_of

AT_ONCE = 64  # answers in flight
FAILING = 32  # questions without a verdict one after another, before the filter gives up


class Difficulty(StrEnum):
    """What a question is good for."""

    NEEDS_CALL = "needs a call"
    DIRECT = "direct"
    UNANSWERED = "unanswered"
    CHANCE = "by chance"


@dataclass(frozen=True)
class Measured:
    """How many of `n` answers were right, at the glance and at full resolution. `asked`: the digest of the row."""

    id: str
    n: int
    glance: int
    full: int
    asked: str = ""

    def difficulty(self, sure: float = 0.75) -> Difficulty:
        """`sure`: the share of right answers from which a question counts as answered, and 1 less it as not."""
        glance, full = self.glance / self.n, self.full / self.n
        if glance >= sure:
            return Difficulty.DIRECT
        if full >= sure and glance <= 1 - sure:
            return Difficulty.NEEDS_CALL
        return Difficulty.UNANSWERED if max(glance, full) <= 1 - sure else Difficulty.CHANCE


def measure(
    rows: Sequence[Row],
    policy: Policy,
    folder: Path,
    *,
    n: int = 8,
    glance: float = 0.25,
    accuracy: Reward | None = None,
    seed: int = 0,
    told: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Measured]:
    """Answers every row n times either way; what `folder`/answers.jsonl holds already is not asked again.

    `policy` should sample (a temperature of 1). `accuracy`: None compares exactly. `told`: what else decides over the
    answers, such as the names of models; a folder is not continued with another. A question of which an answer has no
    verdict is left out, and is for the next run to ask again. Raises `ConfigError` for a folder that was begun with
    other settings, or with another row of the same id, and `PolicyError` where the policy fails, or nothing is judged
    any more: what was measured is kept.
    """
    if n < 1:
        raise ConfigError(f"n is {n}: ask every question once or more")
    settings = {**policy_settings(policy), **(told or {}), "n": n, "glance": glance, "seed": seed}
    log = folder / "answers.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    out = Lines(log)
    with closing(out):
        only_writer(out.file, log)
        known = {one.id: one for one in _read(log)}
        _check(folder, settings, begun=bool(known))
        for row in rows:
            if row.id in known and known[row.id].asked != _digest(row):
                raise ConfigError(
                    f"{folder} holds the measurement of another question, or of other images, under the id {row.id!r}: "
                    "give a fresh folder"
                )
        todo = [row for row in rows if row.id not in known]
        agents = [VisionAgent(policy, tools=[], glance=share, max_turns=1) for share in (glance, 1.0)]
        done, unjudged = len(rows) - len(todo), 0  # one after another
        if progress:
            progress(done, len(rows))

        def came(one: Measured | str) -> None:
            nonlocal done, unjudged
            done, unjudged = done + 1, unjudged + 1 if isinstance(one, str) else 0
            if isinstance(one, Measured):
                known[one.id] = one
                out.add(json.dumps(vars(one)).encode() + b"\n")
            elif unjudged >= FAILING:
                raise PolicyError(
                    f"the last {FAILING} questions have all had no verdict ({one}): what was measured is kept; run "
                    "this again when the judge answers"
                )
            if progress:
                progress(done, len(rows))

        asyncio.run(_measure(todo, agents, n, seed, accuracy, came))
    return [known[row.id] for row in rows if row.id in known]


def _digest(row: Row) -> str:
    asked = json.dumps(row.model_dump(mode="json", exclude={"images"}), sort_keys=True)
    seen = [Path(image).read_bytes() if Path(image).is_file() else image.encode() for image in row.images]
    return hashlib.sha256(b"".join(hashlib.sha256(one).digest() for one in (asked.encode(), *seen))).hexdigest()[:16]


async def _measure(
    rows: Sequence[Row],
    agents: Sequence[VisionAgent],
    n: int,
    seed: int,
    accuracy: Reward | None,
    came: Callable[[Measured | str], None],
) -> None:
    """Hands over what came of each row, or why its answers could not be judged, as soon as it is there."""
    answers, left = asyncio.Semaphore(AT_ONCE), iter(rows)

    async def ask(agent: VisionAgent, row: Row, seed: int) -> Trajectory:
        async with answers:
            return (await agent.aask(list(row.images), row.prompt, seed=seed)).trajectory

    async def work() -> None:
        for row in left:
            asked = [ask(agent, row, seed + k) for agent in agents for k in range(n)]
            came(await _measured(row, await asyncio.gather(*asked), accuracy))

    workers = [asyncio.ensure_future(work()) for _ in range(min(AT_ONCE, len(rows)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        judges = [part.judge for part in parts_of(accuracy) if isinstance(part, JudgeReward)] if accuracy else []
        for opened in (*(agent.policy for agent in agents), *judges):
            if hasattr(opened, "aclose"):
                await opened.aclose()  # the connections of this loop, which ends here


async def _measured(row: Row, answers: Sequence[Trajectory], accuracy: Reward | None) -> Measured | str:
    failed = next((t for t in answers if t.stop_reason.failed), None)
    if failed is not None:
        raise PolicyError(f"{row.id}: {failed.detail}; what was measured is kept: run this again to go on")
    right = await _right(row, answers, accuracy)
    if isinstance(right, str):
        return right
    half = len(right) // 2
    return Measured(row.id, half, sum(right[:half]), sum(right[half:]), _digest(row))


async def _right(row: Row, answers: Sequence[Trajectory], accuracy: Reward | None) -> list[bool] | str:
    if accuracy is None:
        exact = matcher("exact")
        return [bool(said.answer and exact.compare(said.answer, row.references)) for said in answers]
    scores = await accuracy.score(Group(answers, row.references, row.model_dump(mode="json")))
    right = [total > 0.5 for total in scores.totals if total is not None]
    if len(right) < len(answers):  # no verdict is neither right nor wrong
        return f"{row.id}: {'; '.join(scores.failures.values()) or 'an answer has no verdict'}"
    return right


def chosen(
    rows: Sequence[Row], measured: Sequence[Measured], *, calls: float | None = 0.5, sure: float = 0.75, seed: int = 0
) -> list[tuple[Row, Difficulty]]:
    """The rows worth training on, a share of `calls` of them in need of a call (None: as many as there are)."""
    difficulties = {one.id: one.difficulty(sure) for one in measured}
    needing = [row for row in rows if difficulties.get(row.id) is Difficulty.NEEDS_CALL]
    direct = [row for row in rows if difficulties.get(row.id) is Difficulty.DIRECT]
    if calls is not None:
        if not 0 <= calls <= 1:
            raise ConfigError(f"calls is {calls}: give a share from 0 to 1")
        most = min(
            len(needing) / calls if calls else len(direct), len(direct) / (1 - calls) if calls < 1 else len(needing)
        )
        dice = random.Random(seed)
        needing = dice.sample(needing, min(len(needing), round(most * calls)))
        direct = dice.sample(direct, min(len(direct), round(most * (1 - calls))))
    kept = {row.id for row in (*needing, *direct)}
    return [(row, difficulties[row.id]) for row in rows if row.id in kept]


def summary(measured: Sequence[Measured], sure: float = 0.75) -> dict[str, Any]:
    """Counts by difficulty."""
    found = Counter(one.difficulty(sure) for one in measured)
    return {difficulty.value: found[difficulty] for difficulty in Difficulty}


def confirmed(rows: Sequence[Row], measured: Sequence[Measured], sure: float = 0.75) -> dict[str, float] | None:
    """How "needs a call" agrees with what the rows say is sufficient; None where they do not say, or none needs one.

    `precision`: of the questions found to need a call, the share that does; `recall`: of those that do, the share that
    was found. A question that full resolution does not answer either is not found.
    """
    difficulties = {one.id: one.difficulty(sure) for one in measured}
    truths = {row.id: row.sufficient.tool is not None for row in rows if row.sufficient and row.id in difficulties}
    found = {id for id in truths if difficulties[id] is Difficulty.NEEDS_CALL}
    needing = {id for id, needs in truths.items() if needs}
    if not found or not needing:
        return None
    return {"precision": len(found & needing) / len(found), "recall": len(found & needing) / len(needing)}


def plot(measured: Sequence[Measured], path: Path, sure: float = 0.75) -> Path:
    """A PNG: how many questions of each difficulty, and where they lie between glance and full resolution."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError.missing_extra("eval", "The plot") from error
    colours = dict(zip(Difficulty, ("#e8590c", "#3273f6", "#8a93a3", "#d9dde3"), strict=True))
    figure = Figure(figsize=(9.6, 4.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    bars, map_ = figure.subplots(1, 2, width_ratios=(1, 1.15))
    counts = summary(measured, sure)
    drawn = bars.barh(list(counts)[::-1], list(counts.values())[::-1], color=[colours[v] for v in Difficulty][::-1])
    shares = [f" {count} ({count / max(1, len(measured)):.0%})" for count in list(counts.values())[::-1]]
    bars.bar_label(drawn, shares, fontsize=9)
    bars.set_xlim(0, 1.25 * max(1, *counts.values()))
    bars.set_title(f"{len(measured)} questions", loc="left", fontsize=10.5)
    bars.spines[["top", "right"]].set_visible(False)
    places = Counter((one.glance / one.n, one.full / one.n, one.difficulty(sure)) for one in measured)
    for (glance, full, difficulty), count in places.items():
        size = 14 + 900 * count / len(measured)
        map_.scatter(glance, full, s=size, color=colours[difficulty], alpha=0.85, linewidths=0)
    map_.set(xlim=(-0.08, 1.08), ylim=(-0.08, 1.08), xlabel="right at the glance", ylabel="right at full resolution")
    map_.set_title("Share of right answers", loc="left", fontsize=10.5)
    map_.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _check(folder: Path, settings: Mapping[str, Any], *, begun: bool) -> None:
    path = folder / "settings.json"
    if not begun:  # a kill may have left the settings without a measurement
        write_whole(path, (json.dumps(settings, indent=2) + "\n").encode())
        return
    try:
        changed = differences(path.read_bytes(), settings)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is missing or damaged: give a fresh folder") from error
    if changed:
        raise ConfigError(
            f"{folder} was begun with other settings ({'; '.join(changed)}): take those, or give a fresh folder"
        )


def _read(log: Path) -> list[Measured]:
    """What was measured before; a line that a kill cut short is taken off."""
    if not log.exists():
        return []
    whole = log.read_bytes()
    kept = whole[: whole.rfind(b"\n") + 1]
    if len(kept) < len(whole):
        os.truncate(log, len(kept))  # never written anew: killed once more, all would be gone
    try:
        return [Measured(**json.loads(line)) for line in kept.splitlines()]
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{log} holds lines that are no measurements: give a fresh folder") from error
