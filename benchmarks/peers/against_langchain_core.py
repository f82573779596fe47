"""langchain-core's `count_tokens_approximately` and our families: how far from what the model's processor counts?

The processors are those of transformers, at the models' published limits. An error is |count - true| / true, its median
and its worst over sizes from icons to photographs. Theirs counts one image message, less the same message without.
"""

from __future__ import annotations

import math
import random
import statistics

from langchain_core.messages import HumanMessage
from langchain_core.messages.utils import count_tokens_approximately
from measuring import Measured, Row, main

from agentic_vision.policies.torchvision_ops import declare_operators
from agentic_vision.visual_tokens import QwenVL, family

declare_operators()  # torchvision, which transformers imports, need not be built for this torch
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil  # noqa: E402

USUAL = [(224, 224), (640, 480), (1280, 720), (1920, 1080), (2480, 3508), (4032, 3024), (8064, 6048)]


def sizes(n: int) -> list[tuple[int, int]]:
    """The usual ones, and `n` drawn evenly over magnitudes, no longer than 8 to 1."""
    draw = random.Random(0)
    drawn = [tuple(round(math.exp(draw.uniform(math.log(64), math.log(6000)))) for _ in "wh") for _ in range(n)]
    return USUAL + [(width, height) for width, height in drawn if max(width, height) <= 8 * min(width, height)]


def their_count() -> int:
    """The count looks at no pixel and no size: one image is as good as another."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    text = {"type": "text", "text": "What is this?"}
    return count_tokens_approximately([HumanMessage([image, text])]) - count_tokens_approximately(
        [HumanMessage([text])]
    )


def measure(tiny: bool) -> Measured:
    theirs = their_count()
    measured = Measured(facts=[f"count_tokens_approximately counts {theirs} tokens for every image"])
    for name in ("qwen2-vl", "qwen2.5-vl", "qwen3-vl"):
        model = family(name)
        assert isinstance(model, QwenVL)
        limits = {"shortest_edge": model.min_pixels, "longest_edge": model.max_pixels}
        processor = Qwen2VLImageProcessorPil(patch_size=model.patch_size, merge_size=model.merge_size, size=limits)
        errors: dict[str, list[float]] = {"ours": [], "theirs": []}
        for width, height in sizes(20 if tiny else 2000):
            true = processor.get_number_of_image_patches(height, width, {}) // model.merge_size**2
            errors["ours"].append(100 * abs(model.tokens((width, height)) - true) / true)
            errors["theirs"].append(100 * abs(theirs - true) / true)
        work = f"visual tokens of an image, {name}"
        for unit, of in (("% off, median", statistics.median), ("% off, worst", max)):
            measured.rows.append(Row(work, unit, of(errors["ours"]), of(errors["theirs"])))
    return measured


if __name__ == "__main__":
    main("langchain-core", measure)
