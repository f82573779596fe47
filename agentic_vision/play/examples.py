"""Pictures to try without having one at hand, each with a question that its glance can or cannot answer.

The receipt is that of README; the others are questions 0, 5 and 7 of PocketVQA, `--split heldout --seed 7`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Example:
    """A picture of the folder `examples`, and what to ask of it."""

    name: str
    question: str

    @property
    def png(self) -> bytes:
        return files(__package__).joinpath("examples", f"{self.name}.png").read_bytes()


EXAMPLES = {
    example.name: example
    for example in (
        Example("receipt", "What is the total?"),
        Example("cards", "Where is the cyan card?"),
        Example("chart", "What is the label of the shortest bar?"),
        Example("plan", "What is the label of the room with the star?"),
    )
}
