"""Draws `receipt.png`, a PocketVQA receipt whose numbers the embedded checkpoint never saw in training.

    python examples/make_receipt.py [FILE.png]

Prints what can be asked about it, with the true answers.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from agentic_vision.training.data.pocket_vqa import draw_scene

path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("receipt.png")
scene = draw_scene(random.Random("examples/receipt/3"), "heldout", "receipt")
scene.image.save(path)
for question in scene.questions:
    print(f"{question.text} {question.answer}")
