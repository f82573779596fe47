"""The ways of answering that an evaluation compares, on one policy and one graph.

| strategy | what happens |
|---|---|
| `glance` | no tools, the image at a glance |
| `full` | no tools, the image at full resolution |
| `resize`, `resize:0.36` | no tools, the image at a share of its full visual tokens (a half where none is said) |
| `right_crop` | a glance, a scripted zoom_crop on the padded evidence box, then the policy goes on |
| `random` | a coin, fixed by seed and row id, decides: `glance` or `right_crop` |
| `agent` | the policy decides by itself |
| `oracle` | the row's cheapest sufficient tool: none (`glance`), or a scripted call of it |
| `full+fastv:0.36` | any of these, whose views are pruned to a share: `fastv`, `visiondrop`, `todre` |
| `package.module:name` | yours: a function from `Row` to `Plan` |
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..errors import ConfigError
from ..imports import load
from ..rows import Row
from .scripted import Script

STRATEGIES = ("glance", "full", "resize", "right_crop", "random", "agent", "oracle")
HALF = 0.5  # what `resize` shows where no share is said

_NAME = re.compile(r"(?P<way>[a-z_]+)(?::(?P<share>[0-9.]+))?(?:\+(?P<method>[a-z]+):(?P<kept>[0-9.]+))?")


@dataclass(frozen=True)
class Pruning:
    """Which visual tokens the policy lets go of by itself: `kept` is the share that it keeps of every view."""

    method: str
    kept: float


@dataclass(frozen=True)
class Plan:
    """How one row is asked. `share`: of the full visual tokens, for the first view; None: the usual glance."""

    tools: bool
    share: float | None = None
    script: Script | None = None
    pruning: Pruning | None = None


@dataclass(frozen=True)
class Strategy:
    """A name, and what it makes of a row. `plan` raises `ConfigError` for a row that lacks what it needs."""

    name: str
    plan: Callable[[Row], Plan]


def strategy(name: str, *, seed: int = 0) -> Strategy:
    """The strategy of this name; `seed` is the coin's of `random`.

    Raises `ConfigError` for a name that is none, also where it is an import path that leads nowhere.
    """
    said = _NAME.fullmatch(name)
    if said is None:
        return Strategy(name, _imported(name))
    way = said["way"]
    if way not in STRATEGIES:
        raise _unknown(way)
    if said["share"] and way != "resize":
        raise ConfigError(f"{name}: {way} takes no share, resize does: resize:{said['share']}")
    share = _share(name, said["share"]) if said["share"] else HALF
    pruning = Pruning(said["method"], _share(name, said["kept"])) if said["method"] else None

    def planned(row: Row) -> Plan:
        made = _plan(way, row, share=share, seed=seed)
        return replace(made, pruning=pruning) if pruning else made

    return Strategy(name, planned)


def _plan(way: str, row: Row, *, share: float, seed: int) -> Plan:
    match way:
        case "glance":
            return Plan(tools=False)
        case "full":
            return Plan(tools=False, share=1.0)
        case "resize":
            return Plan(tools=False, share=share)
        case "right_crop":
            return Plan(tools=True, script=_crop(row))
        case "random":
            coin = hashlib.sha256(f"{seed}:{row.id}".encode()).digest()[0] % 2
            return _plan(("glance", "right_crop")[coin], row, share=share, seed=seed)
        case "agent":
            return Plan(tools=True)
    if row.sufficient is None:
        raise ConfigError(f"row {row.id!r} does not say which tool is sufficient: leave the strategy oracle out")
    tool = row.sufficient.tool
    if tool is None:
        return Plan(tools=False)
    return Plan(tools=True, script=_crop(row) if tool == "zoom_crop" else Script(tool))


def _crop(row: Row) -> Script:
    if row.evidence is None:
        raise ConfigError(f"row {row.id!r} has no evidence box: leave out the strategies that crop it")
    return Script("zoom_crop", row.evidence)


def _unknown(name: str) -> ConfigError:
    return ConfigError(f"there is no strategy {name!r}: choose from {', '.join(STRATEGIES)}, or give file.py:function")


def _share(name: str, said: str) -> float:
    try:
        share = float(said)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ConfigError(f"{name}: {said} is no share of the visual tokens: give one above 0 and up to 1")
    return share


def _imported(path: str) -> Callable[[Row], Plan]:
    if ":" not in path:
        raise _unknown(path)
    found = load(path)
    if not callable(found):
        raise ConfigError(f"the strategy {path} is no function: give one from a Row to a Plan")

    def planned(row: Row) -> Plan:
        try:
            made = found(row)
        except Exception as error:  # whatever its author's code raises
            raise ConfigError(f"the strategy {path} failed at {row.id}: {type(error).__name__}: {error}") from error
        if not isinstance(made, Plan):
            raise ConfigError(f"the strategy {path} gives {type(made).__name__}: return a Plan")
        return made

    return planned
