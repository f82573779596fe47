"""Which packages, tools and commands are here, and do they fit? By their metadata, and by loading entry points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement

from agentic_vision.cli_group import load_plugin, plugins
from agentic_vision.errors import ConfigError

from .finding import Finding, Health, broken

PACKAGE = "agentic-vision"
BUNDLES = ("all", "dev")  # extras of extras, which nothing asks for by name


@dataclass
class Needs:
    """What some requirements come to here: `there` counts the packages that are installed, fitting or not."""

    there: int = 0
    missing: list[str] = field(default_factory=list)
    unfit: list[str] = field(default_factory=list)


def installed() -> Iterator[Finding]:
    """The packages that every install has."""
    try:
        needs = _needs("")
    except PackageNotFoundError:
        yield Finding("packages", Health.BROKEN, "agentic-vision is not installed here, only found", "pip install .")
        return
    wrong = [f"{name} is missing" for name in needs.missing] + needs.unfit
    if wrong:
        yield Finding("packages", Health.BROKEN, "; ".join(wrong), f"pip install {PACKAGE}")
    else:
        yield Finding("packages", Health.OK, f"{needs.there} that every install needs")


def extras() -> Iterator[Finding]:
    """The packages that only some uses need."""
    for extra in metadata(PACKAGE).get_all("Provides-Extra") or ():
        if extra in BUNDLES:
            continue
        needs, mend = _needs(extra), f"pip install '{PACKAGE}[{extra}]'"
        name = f"extra {extra}"
        if needs.missing:
            yield Finding(name, Health.ABSENT, f"missing: {', '.join(needs.missing)}", mend)
        elif needs.unfit:
            yield Finding(name, Health.BROKEN, "; ".join(needs.unfit), mend)
        else:
            yield Finding(name, Health.OK, f"complete ({needs.there} package{'' if needs.there == 1 else 's'})")


def tools() -> Iterator[Finding]:
    """The visual tools of the entry-point group, each loaded."""
    from agentic_vision.toolbox import Toolbox, installed_tools, packages

    loaded = []
    for name, points in installed_tools().items():
        try:
            Toolbox.of([name])
        except (Exception, SystemExit) as error:  # whatever a package of others raises when it is imported
            yield _unloaded(f"tool {name}", error, f"update or uninstall {packages(points)}", told=len(points) > 1)
        else:
            loaded.append(name)
    if loaded:
        yield Finding("tools", Health.OK, ", ".join(loaded))
    else:
        yield Finding("tools", Health.BROKEN, "there are none, not even our own", f"pip install {PACKAGE}")


def commands() -> Iterator[Finding]:
    """The commands that packages add, each loaded."""
    loaded = []
    for name in plugins():
        try:
            load_plugin(name)
        except (Exception, SystemExit) as error:
            yield _unloaded(f"command {name}", error, "update or uninstall its package", told=True)
        else:
            loaded.append(name)
    yield Finding("commands", Health.OK, ", ".join(loaded) or "none but our own")


def _unloaded(name: str, error: BaseException, mend: str, *, told: bool) -> Finding:
    """`told`: an error of ours says itself what the mend is."""
    if isinstance(error, ConfigError):
        said, _, advice = str(error).rpartition(": ") if told else (str(error), "", mend)
        return Finding(name, Health.BROKEN, said, advice)
    return broken(name, error, mend)


def _needs(extra: str) -> Needs:
    """What the requirements of an extra come to, those of the extras that it names with them; "": of every install."""
    needs, seen, wanted = Needs(), set(), [extra]
    while wanted:
        now = wanted.pop()
        if now in seen:
            continue
        seen.add(now)
        for requirement in map(Requirement, requires(PACKAGE) or ()):
            marker = requirement.marker
            if marker is not None and not marker.evaluate({"extra": now}):
                continue
            if now and (marker is None or marker.evaluate({"extra": ""})):
                continue  # what every install needs
            if requirement.name == PACKAGE:
                wanted.extend(requirement.extras)
            else:
                _count(requirement, needs)
    return needs


def _count(requirement: Requirement, needs: Needs) -> None:
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        needs.missing.append(requirement.name)
        return
    needs.there += 1
    if not requirement.specifier.contains(found, prereleases=True):
        needs.unfit.append(f"{requirement.name} is {found}, and has to be {requirement.specifier}")
