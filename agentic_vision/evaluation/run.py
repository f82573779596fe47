"""Paired evaluation: the same questions in the same order under several strategies, one policy, one graph.

`evaluate(rows, policy, ["glance", "agent"], "out")` appends outcomes to `out/trajectories.jsonl` as they
come, so that a run that was killed goes on where it stopped, and writes `out/summary.json` at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ..agent import VisionAgent
from ..errors import ConfigError, PolicyError
from ..matching import normalised
from ..policy import Policy
from ..rows import Row
from ..source import Source
from .scores import Outcome, Scores, score
from .strategies import STRATEGIES, Plan, ScriptedFirstTurn, plan

TRAJECTORIES, SUMMARY, SETTINGS = "trajectories.jsonl", "summary.json", "settings.json"


class Summary(BaseModel):
    """What `summary.json` holds: the figures of every strategy over the same `n` questions."""

    model_config = ConfigDict(frozen=True)

    n: int
    strategies: dict[str, Scores]


def evaluate(
    rows: Sequence[Row],
    policy: Policy,
    strategies: Sequence[str],
    out: str | os.PathLike[str],
    *,
    name: str = "",
    tools: Sequence[Any] | None = None,
    glance: float = 0.25,
    resize: float = 0.5,
    max_turns: int = 4,
    max_visual_tokens: int | None = None,
    seed: int = 0,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Ask every row under every strategy; `strategies` and `scores` say what the names and figures mean.

    `glance` and `resize` are shares of the full visual tokens. `batch_size` questions are asked at once.
    `name` says which policy this is, so that a folder is not continued with another one. `progress(done,
    all)` is called before the first and after every batch. Raises `ConfigError` where a row lacks what a
    strategy needs or `out` holds another evaluation, `ImageError` for images, `PolicyError` where the policy
    fails; what is done is kept.
    """
    if not strategies:
        raise ConfigError(f"no strategy is given: choose from {', '.join(STRATEGIES)}")
    names = list(dict.fromkeys(strategies))
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size}: give the questions to be asked at once, 1 or more")
    plans = {
        (row.id, strategy): plan(strategy, row, size=size, share=resize, seed=seed)
        for row in rows
        for size in [Source.open(row.images[0]).size]  # once a row: it reads the file
        for strategy in names
    }
    folder = _open_folder(
        Path(out),
        {
            "rows": hashlib.sha256(
                "\n".join(row.model_dump_json(exclude={"images"}) for row in rows).encode()
            ).hexdigest(),
            "policy": name,
            "tools": [str(getattr(tool, "name", tool)) for tool in tools] if tools is not None else None,
            "glance": glance,
            "resize": resize,
            "max_turns": max_turns,
            "max_visual_tokens": max_visual_tokens,
            "seed": seed,
        },
    )
    done = {(outcome.row, outcome.strategy): outcome for outcome in _read(folder / TRAJECTORIES)}

    def agent(asked: Plan, group: Sequence[tuple[Row, Plan]]) -> VisionAgent:
        scripts = [(row, how.script) for row, how in group if how.script is not None]
        return VisionAgent(
            ScriptedFirstTurn(policy, scripts) if scripts else policy,
            tools=tools if asked.tools else [],
            glance=asked.share or glance,
            max_turns=max_turns,
            max_visual_tokens=max_visual_tokens,
            seed=seed,
        )

    if progress:
        progress(len(plans.keys() & done.keys()), len(plans))
    with (folder / TRAJECTORIES).open("a", encoding="utf-8") as log:
        # Strategies take turns every few rows: whenever a run is looked at or killed, what it has is paired.
        for start in range(0, len(rows), batch_size):
            for strategy in names:
                todo = [row for row in rows[start : start + batch_size] if (row.id, strategy) not in done]
                for group in _alike((row, plans[row.id, strategy]) for row in todo):
                    for outcome in _ask(agent(group[0][1], group), strategy, group):
                        log.write(outcome.model_dump_json() + "\n")
                        done[outcome.row, strategy] = outcome
                    log.flush()
                    if progress:
                        progress(len(plans.keys() & done.keys()), len(plans))
    summary = Summary(n=len(rows), strategies={s: score([done[row.id, s] for row in rows]) for s in names})
    (folder / SUMMARY).write_text(summary.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return summary


def _alike(asked: Iterable[tuple[Row, Plan]]) -> Iterator[list[tuple[Row, Plan]]]:
    """Rows that one agent can answer together: they differ in their scripts at most."""
    groups: dict[tuple[bool, float | None, bool], list[tuple[Row, Plan]]] = {}
    for row, how in asked:
        groups.setdefault((how.tools, how.share, how.script is not None), []).append((row, how))
    yield from groups.values()


def _ask(agent: VisionAgent, strategy: str, group: Sequence[tuple[Row, Plan]]) -> Iterator[Outcome]:
    """One batch through the agent. Raises `PolicyError` for questions that failed, after the others' outcomes."""
    start = time.perf_counter()
    results = agent.batch([(list(row.images), row.question) for row, _ in group], concurrency=len(group))
    seconds = (time.perf_counter() - start) / len(group)
    failed = []
    for (row, how), result in zip(group, results, strict=True):
        if result.stop_reason.failed:  # no answer of the model's: neither scored nor kept
            failed.append(f"question {row.id} failed: {result.trajectory.detail}")
            continue
        yield Outcome(
            row=row.id,
            strategy=strategy,
            kind=row.kind,
            scene=row.scene,
            reference=row.answer,
            answer=result.answer,
            correct=result.answer is not None and normalised(result.answer) == normalised(row.answer),
            forced=how.script is not None,
            evidence=row.evidence,
            seconds=seconds,
            trajectory=result.trajectory,
        )
    if failed:
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise PolicyError(f"{failed[0]}{others}; what was answered is kept: mend that, then run this again")


def _open_folder(folder: Path, settings: dict[str, Any]) -> Path:
    """Make `folder`, or check that what it holds was made with the same rows, policy and settings."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / SETTINGS
        if not path.exists():
            path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        before = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot use the folder {folder} ({error.strerror}): give one that is yours to write"
        ) from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path} is broken: give a fresh folder") from error
    changed = sorted(key for key in settings if before.get(key) != settings[key])
    if changed:
        others = " and ".join(changed)
        raise ConfigError(f"{folder} holds an evaluation with other {others}: give a fresh folder")
    return folder


def _read(path: Path) -> list[Outcome]:
    """The outcomes so far. A last line that a kill cut short is taken off the file, to be asked again."""
    if not path.exists():
        return []
    whole = path.read_bytes()
    kept = whole[: whole.rfind(b"\n") + 1]
    if len(kept) < len(whole):
        path.write_bytes(kept)
    try:
        return [Outcome.model_validate_json(line) for line in kept.splitlines()]
    except ValidationError as error:
        raise ConfigError(f"{path} holds lines that are no outcomes: give a fresh folder") from error
