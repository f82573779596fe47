"""Some trajectories of every training step, kept for people to look at: `samples.jsonl`, which reports show."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from agentic_vision.evaluation.outcomes import Outcome
from agentic_vision.report.samples import step_of, strategy_of
from agentic_vision.rows import Row
from agentic_vision.whole_file import Lines, write_whole

from .scored import ScoredGroup

MOST = 4  # a step, each of another group

logger = logging.getLogger(__name__)


class Samples:
    """The file `path`: an evaluation's `Outcome` a line, whose strategy is the step and whose score is the accuracy."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def restore(self, before: int) -> None:
        """Drops what was noted of step `before` and of later ones, which are done again, and a line cut short."""
        if self._path.exists():
            lines = self._path.read_bytes().splitlines(keepends=True)
            write_whole(self._path, b"".join(line for line in lines if _step(line) < before))

    def note(self, step: int, scored: Sequence[ScoredGroup]) -> None:
        """Adds the first trajectory of some of the groups of `step`: the same ones whenever it is done."""
        # Not the first to end, which would be those without a call.
        drawn = sorted(scored, key=lambda one: hashlib.sha256(f"{step}/{_id(one)}".encode()).digest())
        with closing(Lines(self._path)) as out:
            for one in drawn[:MOST]:
                try:
                    noted = json.dumps(_outcome(step, one).model_dump(mode="json"), ensure_ascii=False)
                except (ValueError, TypeError) as error:  # a row of others, which trains all the same
                    logger.warning("the row %s cannot be shown: %s", _id(one), error)
                    continue
                out.add(noted.encode("utf-8", "replace") + b"\n")


def _step(line: bytes) -> float:
    try:
        return step_of(str(json.loads(line)["strategy"]))
    except (ValueError, KeyError, TypeError):
        return math.inf


def _id(one: ScoredGroup) -> str:
    return str(one.group.row.get("id") or one.keys[0])


def _outcome(step: int, one: ScoredGroup) -> Outcome:
    group, told = one.group, one.group.row
    row = Row.model_construct(  # what was trained on is shown as it is
        id=_id(one),
        images=tuple(told.get("images") or ()),
        question=group.question,
        answer=group.references[0],
        answers=group.references,
        kind=told.get("kind"),
        scene=told.get("scene"),
        evidence=told.get("evidence"),
    )
    # The reward's first part is the accuracy, as in the figures.
    score = next(iter(one.scores.parts.values()), (None,))[0]
    score = None if score is None else min(max(score, 0.0), 1.0)
    outcome = Outcome.about(row, strategy_of(step), "", score=score)
    return outcome.ended_as(group.trajectories[0], row, forced=False, processed=1.0, remembered=False)
