"""What was found in the folders of evaluations: the outcomes side by side, and what an accuracy costs.

It is made from the outcomes alone, so that a run that is still going, or was killed, can be looked at as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ..evaluation.compare import Compared, compared
from ..evaluation.folder import SUMMARY, TRAJECTORIES, by_strategy
from ..evaluation.outcomes import Outcome
from ..evaluation.planner import Law, Point, cheapest, fit
from ..evaluation.summary import Summary, summarised

BARE = re.compile(r"glance|full|resize(:[0-9.]+)?")  # the whole image at a share: what the law is fitted to
PAGE = "report.html"
ORACLES = ("oracle", "right_crop", "random")  # strategies that are told where to look: no settings that one can choose
MISSES = 0.03  # a law that misses the points by more, in accuracy, is no guide


class Planned(BaseModel):
    """What an accuracy takes: the cheapest setting that was measured, and the share of tokens by the fitted law.

    `law` and `tokens` are None where there are too few shares to fit one, or where no share reaches the target.
    """

    model_config = ConfigDict(frozen=True)

    target: float
    cheapest: Point | None
    law: Law | None
    tokens: float | None


@dataclass(frozen=True)
class Evaluations:
    """What was found in the folders of one or several evaluations; `folder` is the first of them.

    `name`: what the first is called. `origins`: the folder of a strategy, and what it is called there. `points`: the
    settings that one can choose; `fitted`: those of the whole image at a share, of the first folder that has enough of
    them for a law (another folder's may be another model's). `compared`: the first folder against each other one that
    has questions in common with it, by that one's name.
    """

    folder: Path
    name: str
    outcomes: Mapping[str, Mapping[str, Outcome]]
    origins: Mapping[str, tuple[Path, str]]
    summary: Summary
    planned: Planned
    points: Sequence[Point]
    fitted: Sequence[Point]
    compared: Mapping[str, Mapping[str, Compared]]

    @classmethod
    def of(cls, folders: Iterable[str | os.PathLike[str]], target: float | None = None) -> Evaluations:
        """Of these folders together: where two have the same strategy, each is named by its folder as well.

        `target`: the accuracy to plan for; None is that of `full`, else the best. Raises `ConfigError` for a folder
        without an evaluation.
        """
        found: dict[str, dict[str, Outcome]] = {}
        origins: dict[str, tuple[Path, str]] = {}
        places = list(map(Path, folders))
        names = apart(places)
        held = {folder: by_strategy(folder) for folder in places}
        for folder in places:
            for strategy, by_row in held[folder].items():
                name = f"{strategy} ({names[folder]})" if strategy in found else strategy
                found[name], origins[name] = by_row, (folder, strategy)
        summary = summarised({name: list(by_row.values()) for name, by_row in found.items()})
        points = [
            Point(name=name, tokens=scores.visual_tokens_ratio, accuracy=scores.accuracy, n=scores.n)
            for name, scores in summary.strategies.items()
            if scores.visual_tokens_ratio
            and scores.accuracy is not None
            and origins[name][1].partition("+")[0] not in ORACLES
        ]
        bare = [point for point in points if BARE.fullmatch(origins[point.name][1])]
        by_folder = ([point for point in bare if origins[point.name][0] == folder] for folder in places)
        fitted = next((found for found in by_folder if fit(found) is not None), [])
        beside = {names[other]: both for other in places[1:] if (both := compared(held[places[0]], held[other]))}
        planned = _planned(points, fitted, target)
        return cls(places[0], names[places[0]], found, origins, summary, planned, points, fitted, beside)

    def baseline(self, name: str) -> Mapping[str, Outcome] | None:
        """The outcomes of `full` beside a strategy, in its own folder; None for `full` itself, or without one."""
        folder, strategy = self.origins[name]
        beside = [other for other, origin in self.origins.items() if origin == (folder, "full")]
        return self.outcomes[beside[0]] if beside and strategy != "full" else None


def is_done(folder: Path) -> bool:
    """Whether the evaluation in `folder` has come to its summary since its last outcome."""
    summary, outcomes = folder / SUMMARY, folder / TRAJECTORIES
    return summary.exists() and summary.stat().st_mtime >= outcomes.stat().st_mtime


def apart(folders: Iterable[Path]) -> dict[Path, str]:
    """A name for each folder by which it is told from the others: its last parts, as many as that takes."""
    whole = {folder: folder.absolute().parts for folder in folders}
    names = {}
    for folder, parts in whole.items():
        length = 1
        while length < len(parts) and any(
            other[-length:] == parts[-length:] for path, other in whole.items() if path != folder
        ):
            length += 1
        names[folder] = "/".join(parts[-length:])
    return names


def _planned(points: Sequence[Point], fitted: Sequence[Point], target: float | None) -> Planned:
    if target is None:
        full = [point.accuracy for point in points if point.name == "full"]
        target = full[0] if full else max((point.accuracy for point in points), default=0.0)
    law = fit(fitted)
    tokens = law.tokens(target) if law else None
    if tokens is not None:  # below the smallest share that was measured, a law is a guess
        tokens = max(tokens, min(point.tokens for point in fitted))
    return Planned(target=target, cheapest=cheapest(points, target), law=law, tokens=tokens)


def planned_text(planned: Planned) -> str:
    """The plan in a sentence or two."""
    target = f"{100 * planned.target:.1f} % accuracy"
    found = planned.cheapest
    said = (
        f"The cheapest setting measured that reaches {target}: {found.name}, for {found.tokens:.0%} of the tokens."
        if found
        else f"No setting that was measured reaches {target}."
    )
    if planned.law is None:
        return f"{said} Three shares of the whole image (glance, resize:0.5, full) would tell what others cost."
    if planned.law.residual > MISSES:
        missed = f"misses the whole image at several shares by {100 * planned.law.residual:.0f} points of accuracy"
        return f"{said} The law of diminishing errors {missed}: between them, measure."
    reached = f"takes {planned.tokens:.0%} of them" if planned.tokens is not None else "is out of reach"
    return f"{said} By the law that fits the whole image at several shares, it {reached}."
