"""Does what is installed here work? `agentic-vision doctor` looks, and says how to mend what does not."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from importlib.util import find_spec

from agentic_vision import __version__

from .checkpoint import checkpoint
from .finding import Finding, Health, broken
from .packages import commands, extras, installed, tools
from .settings import settings

__all__ = ["Finding", "Health", "diagnose"]


def diagnose() -> list[Finding]:
    """All that can be said without a model, a key or the network; whatever a check raises is a finding as well."""
    findings = [
        Finding("python", Health.OK, f"{platform.python_version()} on {platform.platform()}"),
        Finding("agentic-vision", Health.OK, __version__),
    ]
    again = "pip install --force-reinstall"
    for name, check, mend in (
        ("packages", installed, f"{again} agentic-vision"),
        ("extras", extras, f"{again} agentic-vision"),
        ("tools", tools, "uninstall the package whose tools these are"),
        ("commands", commands, "uninstall the package whose commands these are"),
        ("settings", settings, "unset AGENTIC_VISION_*"),
        ("embedded checkpoint", checkpoint, f"{again} --no-deps agentic-vision"),
        ("torch", _local, f"{again} 'agentic-vision[local]'"),
    ):
        findings += _checked(name, check, mend)
    return findings


def _local() -> Iterable[Finding]:
    """What needs torch, which is imported only where it is installed."""
    if find_spec("torch") is None:
        return []
    from agentic_vision.policies.local_checks import local_checks

    return local_checks()


def _checked(name: str, check: Callable[[], Iterable[Finding]], mend: str) -> list[Finding]:
    found: list[Finding] = []
    try:
        for finding in check():
            found.append(finding)  # one by one: those before a failure stand
    except (Exception, SystemExit) as error:  # from whatever is installed: a doctor does not fall ill
        found.append(broken(name, error, mend))
    return found
