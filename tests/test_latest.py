"""What a policy holds of conversations that nobody ends."""

from __future__ import annotations

from agentic_vision.policies.latest import MOST_CONVERSATIONS, Latest


def test_the_latest_are_held() -> None:
    held: Latest[int] = Latest()
    for n in range(MOST_CONVERSATIONS + 2):
        held[str(n)] = n
        held["gone on with"] = n
    assert len(held) == MOST_CONVERSATIONS
    assert "2" not in held
    assert {"gone on with", "3", str(MOST_CONVERSATIONS + 1)} <= set(held)
