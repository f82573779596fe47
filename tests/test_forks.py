"""Processes that are forked off one that has loaded weights, as worker pools and web servers do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

RECEIPT = Path(__file__).parent.parent / "examples" / "receipt.png"
CODE = """
import os, sys
from agentic_vision import VisionAgent

before = VisionAgent()
if sys.argv[2] == "asked":
    print(before.ask(sys.argv[1], "What is the total?").answer, flush=True)
child = os.fork()
if child == 0:
    for agent in (VisionAgent(), before):
        print(agent.ask(sys.argv[1], "What is the total?").answer, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize("parent", ["loaded", "asked"])
def test_a_fork_loads_weights_of_its_own_and_asks_those_of_its_parent(parent: str) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", CODE, str(RECEIPT), parent]
    said = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
    assert said.split() == ["25.15"] * (3 if parent == "asked" else 2)
