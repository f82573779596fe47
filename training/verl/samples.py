"""Some trajectories of every training step, kept for people to look at: `samples.jsonl`, which reports show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from agentic_vision.evaluation.outcomes import Outcome
from agentic_vision.report.samples import strategy_of
from agentic_vision.rows import Row
from agentic_vision.whole_file import Lines

from .scored import ScoredGroup

MOST = 4  # a step, each of another group


class Samples:
    """The file `path`: an evaluation's `Outcome` a line, whose strategy is the step and whose score is the accuracy."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, step: int, scored: Sequence[ScoredGroup]) -> None:
        """Adds the first trajectory of some of the groups of `step`."""
        with closing(Lines(self._path)) as out:
            for one in scored[:MOST]:
                line = json.dumps(_outcome(step, one).model_dump(mode="json"), ensure_ascii=False)
                out.add(line.encode("utf-8", "replace") + b"\n")


def _outcome(step: int, one: ScoredGroup) -> Outcome:
    group, told = one.group, one.group.row
    row = Row.model_construct(  # what was trained on is shown as it is
        id=str(told.get("id") or one.keys[0]),
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
