"""Is this the work that was begun here? What decides over answers is stored beside them, and must be the same again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .policy import Policy


def policy_settings(policy: Policy, name: str = "") -> dict[str, Any]:
    """What decides over a policy's replies, as JSON. `name`: the one it was asked for by; "" is the model's own."""
    model = getattr(policy, "model", None)
    own: Mapping[str, Any] = getattr(policy, "settings", {})
    return {"policy": name or (model if isinstance(model, str) else type(policy).__name__), **own}


def differences(stored: str | bytes, settings: Mapping[str, Any]) -> list[str]:
    """Which of the settings are not as they were stored. Raises `ValueError` where what was stored is damaged."""
    before, now = json.loads(stored), json.loads(json.dumps(settings))
    if not isinstance(before, dict):
        raise ValueError("no settings")
    return [f"{name}={before.get(name)!r}, now {now[name]!r}" for name in now if before.get(name) != now[name]]
