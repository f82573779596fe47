"""The same rows by OpenAI's Batch API: a round of request files for every turn, for half the price and next day.

    agent = VisionAgent(FiledPolicy("gpt-5-mini"))
    while (made := next_round("questions.jsonl", "rounds", agent)).requests:
        ...  # answer rounds/round-001/requests-*.jsonl, put the output and error files beside them

The folder is all the state there is: `round-001`, `round-002`, ..., each with requests and results, and
`answers.jsonl`, where a question that is finished has its line, as of `run_batch`. `next_round` reads what has come
back, and writes what is to be asked next; killed, it does it again.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from .. import sync
from ..agent import VisionAgent
from ..errors import ConfigError, MisconfiguredError
from ..same_settings import policy_settings
from .answers import BatchOutcome, answers
from .filed import FiledPolicy, NotYetError, asked_row
from .pace import Pace
from .results import RequestFiles, Results, request_files
from .rows import BatchRow, Rows
from .run import Watch, each, outcome
from .tally import Tally

ANSWERS = "answers.jsonl"
_ROUND = re.compile(r"round-\d+")
AT_ONCE = min(os.cpu_count() or 1, 16)  # images are drawn by the processor: nothing is waited for


@dataclass(frozen=True)
class Round:
    """Which files are to be answered now: `requests` of them all together, 0 where every question is finished.

    `missing`: requests of this round that were answered already in part, and still lack a result; else 0.
    """

    folder: Path | None
    requests: int
    tally: Tally
    missing: int = 0
    files: list[Path] = field(default_factory=list)


def next_round(
    rows: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    agent: VisionAgent,
    *,
    question: str | None = None,
    watch: Watch | None = None,
) -> Round:
    """Read the last round's results, write the next round's requests. `rows`, `question`, `watch`: as of `run_batch`.

    A round whose results are not all there is given back as it is. Raises `ConfigError` where files are not what
    they should be, and `MisconfiguredError` where the API says that no request can succeed.
    """
    return sync.run(anext_round(rows, folder, agent, question=question, watch=watch))


async def anext_round(
    rows: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    agent: VisionAgent,
    *,
    question: str | None = None,
    watch: Watch | None = None,
) -> Round:
    """`next_round`, for async callers."""
    policy, folder = agent.policy, Path(folder)
    if not isinstance(policy, FiledPolicy):
        raise ConfigError("rounds of files need a policy that asks by files: VisionAgent(FiledPolicy('model'))")
    given = Rows(rows, question)
    settings = {**policy_settings(policy), **agent.settings}
    with answers(folder / ANSWERS, settings, begun=bool(_rounds(folder))) as file:
        file.begin(given)
        rounds = _rounds(folder)
        results = Results(rounds)
        if results.missing:
            return Round(rounds[-1], results.asked, file.tally, results.missing, request_files(rounds[-1]))
        policy.know(results)
        part = folder / "next.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        requests = RequestFiles(part)
        pace = Pace(AT_ONCE)

        async def ask(row: BatchRow) -> None:
            asked_row.set(row.id)
            try:
                found = await outcome(agent, row)
            except NotYetError as unknown:
                if requests.write(unknown.key, unknown.request):
                    return
                found = BatchOutcome.without(row, "bad_row", "its images make a request larger than a file: show fewer")
            file.write(found)
            file.tally.asked += 1
            if watch:
                watch(file.tally, pace)

        try:
            await each((row for row in given if not file.holds(row)), ask, pace)
        except MisconfiguredError as error:
            raise MisconfiguredError(f"{error}; then have the requests in {rounds[-1]} answered anew") from error
        finally:
            requests.close()
        if not requests.requests:
            part.rmdir()
            return Round(None, 0, file.tally)
        made = folder / f"round-{_number(rounds[-1]) + 1 if rounds else 1:03}"
        os.replace(part, made)
        return Round(made, requests.requests, file.tally, files=request_files(made))


def _rounds(folder: Path) -> list[Path]:
    """The folders of the rounds, in order; archives of them and other things may lie beside them."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted((path for path in found if _ROUND.fullmatch(path.name) and path.is_dir()), key=_number)


def _number(round: Path) -> int:
    return int(round.name.removeprefix("round-"))
