"""Asks many questions from a file into a file, twice: the second run finds that nothing is left to ask.

python examples/batch.py

The same on the command line: agentic-vision batch questions.jsonl --out answers.jsonl
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from agentic_vision import VisionAgent
from agentic_vision.batch.run import run_batch

RECEIPT = Path(__file__).with_name("receipt.png").absolute()
QUESTIONS = ("What is the total?", "What color is the logo?")

with tempfile.TemporaryDirectory() as folder:
    questions, answers = Path(folder) / "questions.jsonl", Path(folder) / "answers.jsonl"
    rows = [{"id": f"receipt-{n}", "image": str(RECEIPT), "question": asked} for n, asked in enumerate(QUESTIONS, 1)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    agent = VisionAgent()
    tally = run_batch(questions, answers, agent)
    again = run_batch(questions, answers, agent)

    for line in sorted(answers.read_text(encoding="utf-8").splitlines()):
        outcome = json.loads(line)
        print(outcome["id"], outcome["answer"] or outcome["stop_reason"], [c["name"] for c in outcome["tool_calls"]])
    print(f"{tally.done} of {tally.rows} rows, {tally.saved:.0%} of the visual tokens saved; then {again.asked} asked")
