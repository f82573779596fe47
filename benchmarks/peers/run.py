"""What do others make of the same work? agentic-vision beside its peers, as ratios.

    python benchmarks/peers/run.py [NAME...] [--envs FOLDER] [--out FILE.json]

Every peer runs in a virtual environment of its own, made at the first run (a few gigabytes for all of them, torch
among them) and used again. Both do the same work in turn, in one process; figures are medians, and a ratio below 1
says that ours took less. A peer that cannot be installed or run is in the table with the reason.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from environments import Environments, UnavailableError, reason
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Peer:
    """Another library: its `name`, the program that measures it, and what that needs."""

    name: str
    program: Path
    requirements: Path

    @classmethod
    def called(cls, name: str) -> Peer:
        return cls(name, HERE / f"against_{name.replace('-', '_')}.py", HERE / "requirements" / f"{name}.txt")


PEERS = [
    Peer.called(name) for name in ("qwen-vl-utils", "qwen-agent", "verifiers", "trl", "langchain", "langchain-core")
]


def measured(peer: Peer, environments: Environments, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """What the peer's program says, or why it said nothing, under the peer's name."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "measured.json"
        try:
            python = environments.python(peer.name, peer.requirements)
            command = [str(python), str(peer.program), "--out", str(out), *arguments]
            # What there is to be had, is here: no peer needs a hub, and none shall wait for one.
            env = {**os.environ, "HF_HUB_OFFLINE": "1"}
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env)
            if done.returncode:
                raise UnavailableError(f"does not run: {reason(done.stderr)}")
            return {"peer": peer.name, **json.loads(out.read_text(encoding="utf-8"))}
        except UnavailableError as unavailable:
            return {"peer": peer.name, "skipped": str(unavailable)}


def table(results: Sequence[dict[str, Any]]) -> Table:
    """One row a figure; a peer that was skipped has one with the reason."""
    shown = Table(title="agentic-vision and its peers: less is better")
    for column in ("peer", "work"):
        shown.add_column(column, overflow="fold")
    for column in ("ours", "theirs", "ours / theirs"):
        shown.add_column(column, justify="right")
    shown.add_column("unit")
    shown.add_column("note", overflow="fold")
    for result in results:
        label = f"{result['peer']} {result.get('versions', {}).get(result['peer'], '')}".strip()
        if "skipped" in result:
            shown.add_row(label, "skipped", "", "", "", "", result["skipped"], end_section=True)
            continue
        for row in result["rows"]:
            ratio = f"{row['ours'] / row['theirs']:.2f}" if row["theirs"] else ""
            figures = (
                (f"{row['ours']:,.3g}", f"{row['theirs']:,.3g}")
                if max(row["ours"], row["theirs"]) < 1000
                else (f"{row['ours']:,.0f}", f"{row['theirs']:,.0f}")
            )
            shown.add_row(label, row["work"], *figures, ratio, row["unit"], row["note"])
        for fact in result["facts"]:
            shown.add_row(label, fact, "", "", "", "", "")
        shown.add_section()
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(peer.name for peer in PEERS))
    default = Path(platformdirs.user_cache_dir("agentic-vision")) / "peers"
    parser.add_argument("--envs", type=Path, default=default, help=f"where the environments are; {default}")
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    parser.add_argument("--tiny", action="store_true", help="only show that it all runs: the figures mean nothing")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - {peer.name for peer in PEERS})
    if unknown:
        parser.error(f"no peer is called {', '.join(unknown)}: choose from {', '.join(peer.name for peer in PEERS)}")

    results = []
    console = Console(stderr=True)
    for peer in PEERS:
        if not options.names or peer.name in options.names:
            console.print(f"{peer.name} ...")
            results.append(measured(peer, Environments(options.envs.absolute()), ["--tiny"] * options.tiny))
    if options.out:
        machine = {"system": platform.platform(), "cores": os.cpu_count()}
        whole = {"date": datetime.date.today().isoformat(), "machine": machine, "results": results}
        options.out.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    Console(width=None if sys.stdout.isatty() else 180).print(table(results))


if __name__ == "__main__":
    main()
