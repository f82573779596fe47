"""What the command line prints: trajectories and tools, for people and for programs.

Text that a model or a package wrote is shown as text: its control characters are not sent to the terminal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unicodedata import bidirectional, category

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .messages import Observation, StopReason, Trajectory, Turn

_STEERING = ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")  # not all that is unprintable to Python: spaces and joiners are text
_TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def calls_json(trajectory: Trajectory) -> list[dict[str, Any]]:
    """What became of every well-formed call."""
    came_back = {step.call.id: step for step in trajectory.observations if step.call is not None}
    calls = []
    for call in trajectory.calls:
        step = came_back.get(call.id)
        error = f"not run: {trajectory.stop_reason}" if step is None else None
        if step is not None and step.failure is not None:
            error = step.failure.message
        calls.append({"name": call.name, "arguments": call.arguments, "ok": error is None, "error": error})
    return calls


def result_json(trajectory: Trajectory) -> dict[str, Any]:
    """The object of `ask --json`."""
    fields = ("visual_tokens", "full_resolution_tokens", "saved", "input_tokens", "output_tokens", "requests")
    return {
        "answer": trajectory.answer,
        "stop_reason": trajectory.stop_reason.value,
        "turns": len(trajectory.turns),
        "tool_calls": calls_json(trajectory),
        "usage": {field: getattr(trajectory.usage, field) for field in fields},
    }


def show_result(trajectory: Trajectory, trace: Path | None) -> None:
    """The answer on the first line, then what the agent looked at, then what that saved."""
    console = printer()
    if trajectory.answer is not None:
        console.print(Text(plain(trajectory.answer), style="bold green"))
    if trajectory.answer is not None and trajectory.stop_reason is not StopReason.ANSWERED:
        console.print(Text(f"made to answer: {plain(trajectory.detail or trajectory.stop_reason.value)}", style="dim"))
    if trajectory.answer is None:
        why = f" ({plain(trajectory.detail)})" if trajectory.detail else ""
        console.print(Text(f"no answer: {trajectory.stop_reason.value.replace('_', ' ')}{why}", style="bold red"))
    console.print()
    for step in trajectory.steps:
        if isinstance(step, Turn):
            if step.thought:
                console.print(Text(f"     “{plain(step.thought)}”", style="italic dim"))
            if step.problem:
                console.print(Text(f"  !  malformed turn: {plain(step.problem.message)}", style="red"))
        # What has neither view nor call repeats a malformed turn's problem.
        elif isinstance(step, Observation) and (step.view or step.call):
            _show_observation(console, step)
    usage = trajectory.usage
    turns = f"{len(trajectory.turns)} turn{'' if len(trajectory.turns) == 1 else 's'}"
    verdict = f"{usage.saved:.0%} saved" if usage.saved >= 0 else f"{-usage.saved:.0%} more than that"
    console.print()
    spent = f"{usage.visual_tokens:,} visual tokens, {usage.full_resolution_tokens:,} at full resolution"
    console.print(Text(f"{spent}: {verdict} ({turns}, {trajectory.seconds:.1f} s)"))
    if usage.glance_floored:
        console.print(Text("The glance is as small as this model family accepts.", style="dim"))
    if trace is not None:
        console.print(Text(f"Trace: {trace}"))


def _show_observation(console: Console, step: Observation) -> None:
    name = step.call.name if step.call else "glance"
    if step.view is not None:
        box = step.view.box
        corners = f"box {box.x0:.0f},{box.y0:.0f} to {box.x1:.0f},{box.y1:.0f}"
        place = "whole picture" if step.view.is_whole else corners
        picture = f" of picture {step.view.source + 1}" if step.view.source else ""
        size = f"{step.view.size[0]:,} x {step.view.size[1]:,} px"
        line = Text(f" {step.image or '':>2}  ", style="bold cyan")
        line.append(f"{plain(name):<10}", style="bold default")
        line.append(f"{place}{picture}, {size}, {step.visual_tokens:,} tokens", style="not bold default")
        console.print(line)
    if step.text:
        console.print(Text(f"     {plain(step.text)}"))
    if step.failure and step.call:
        console.print(Text(f"  !  {plain(name)} failed: {plain(step.failure.message)}", style="red"))


def show_tools(found: list[dict[str, Any]]) -> None:
    """A table of the tools: name, arguments, what it is for, where it is from."""
    table = Table(box=None, pad_edge=False)
    for column in ("tool", "arguments", "what it does", "package"):
        table.add_column(column, style="bold" if column == "tool" else "")
    for tool in found:
        arguments = ", ".join(tool["schema"].get("properties", {}))
        summary = (plain(tool["description"]).strip().splitlines() or [""])[0]
        table.add_row(Text(tool["name"]), Text(plain(arguments)), Text(summary), Text(tool["package"]))
    printer().print(table)


def plain(text: str) -> str:
    """`text` without characters that steer a terminal, or that turn what stands beside them (new lines, tabs stay)."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _steers(char) else char for char in text)


def _steers(char: str) -> bool:
    return (category(char) in _STEERING and char not in "\n\t") or bidirectional(char) in _TURNING


def printer() -> Console:
    """Standard output, never wrapped in the middle of a word for a pipe's sake."""
    return Console(soft_wrap=True, highlight=False)
