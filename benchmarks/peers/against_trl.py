"""TRL's multi-turn rollouts with an image tool (`GRPOTrainer(tools=...)`) and ours, on the same tiny checkpoint.

Both roll out a group of two on one picture: a reply with a tool call, the crop, another reply, of the same tokens on
both sides. TRL's are timed inside its own training loop, in turn with ours; the learning rate is 0. What a turn costs
here is what surrounds the model, which is too small to cost much itself.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import Measured, Row, main
from pictures import photograph
from PIL import Image
from speaking_checkpoint import speaking

from agentic_vision import VisionAgent
from agentic_vision.policies.transformers import TransformersPolicy
from agentic_vision.policy import Conversation, Reply

GROUP, TURNS = 2, 2
QUESTION = "Which digit is it?"


class OnlyReplies:
    """The policy without its way to be made to answer at the last turn, which TRL's rollouts do not have."""

    def __init__(self, policy: TransformersPolicy) -> None:
        self.policy = policy
        self.family, self.style = policy.family, policy.style
        self.tokens = 0  # generated since it was made

    async def reply(self, conversation: Conversation, *, seed: int | None = None) -> Reply:
        reply = await self.policy.reply(conversation, seed=seed)
        self.tokens += reply.output_tokens or 0
        return reply

    def forget(self, conversation_id: str) -> None:
        self.policy.forget(conversation_id)


def measure(tiny: bool) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        return rollouts(Path(folder), steps=1 if tiny else 15)


def rollouts(folder: Path, steps: int) -> Measured:
    """`steps` groups each, after an unmeasured one, in turn."""
    import trl
    from datasets import Dataset
    from transformers import AutoModelForImageTextToText, AutoTokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.models.qwen3_vl import Qwen3VLProcessor, Qwen3VLVideoProcessor
    from trl import GRPOConfig, GRPOTrainer

    template = (Path(trl.__file__).parent / "chat_templates" / "qwen3_vl.jinja").read_text(encoding="utf-8")
    checkpoint = folder / "checkpoint"
    length = speaking(checkpoint, template)
    path = photograph(folder / "photograph.jpg", (640, 480))
    picture = Image.open(path).convert("RGB")

    policy = OnlyReplies(TransformersPolicy.load(checkpoint))
    # Shown at full resolution at once, as TRL shows it: the same pictures on both sides.
    agent = VisionAgent(policy, tools=["zoom_crop"], glance=1.0, max_turns=TURNS)
    shown: list[Any] = []

    def zoom_crop(bbox_2d: list[int]) -> list[dict[str, Any]]:
        """
        Cut out a region of the image and see it at full detail.

        Args:
            bbox_2d: The region, in thousandths of the sides.
        """
        x0, y0, x1, y1 = bbox_2d
        width, height = picture.size
        crop = picture.crop((x0 * width // 1000, y0 * height // 1000, x1 * width // 1000, y1 * height // 1000))
        shown.append(crop)
        return [{"type": "image", "image": crop}]

    taken: dict[str, list[float]] = {"ours": [], "theirs": []}

    class Timed(GRPOTrainer):  # type: ignore[misc, valid-type]
        """Its rollouts, timed, and ours after them."""

        def _generate(self, prompts: Any) -> Any:
            started = time.process_time()
            made = super()._generate(prompts)
            taken["theirs"].append(time.process_time() - started)
            started = time.process_time()
            results = agent.batch([(path, QUESTION)] * len(prompts))
            taken["ours"].append(time.process_time() - started)
            assert all(len(result.trajectory.calls) == TURNS for result in results), results[0].trajectory.detail
            return made

    trainer = Timed(
        model=AutoModelForImageTextToText.from_pretrained(checkpoint),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=GRPOConfig(
            output_dir=str(folder / "trl"),
            per_device_train_batch_size=GROUP,
            num_generations=GROUP,
            max_completion_length=2048,
            max_tool_calling_iterations=TURNS - 1,
            max_steps=steps + 1,
            learning_rate=0.0,
            use_cpu=True,
            bf16=False,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(
            [{"prompt": [{"role": "user", "content": QUESTION}], "image": picture} for _ in range(GROUP * (steps + 1))]
        ),
        tools=[zoom_crop],
        processing_class=Qwen3VLProcessor(
            Qwen2VLImageProcessorPil.from_pretrained(checkpoint),
            AutoTokenizer.from_pretrained(checkpoint),
            Qwen3VLVideoProcessor(),
            chat_template=template,
        ),
    )
    trainer.train()

    turns = GROUP * TURNS
    assert policy.tokens == (steps + 1) * turns * length, (policy.tokens, length)
    ours, theirs = (1000 * statistics.median(taken[way][1:]) / turns for way in ("ours", "theirs"))
    fact = f"TRL shows the model images from tools: {len(shown)} crops in {steps + 1} groups of {GROUP}"
    return Measured(
        [Row("a rollout's turn, group of two, tiny Qwen3-VL", "ms", ours, theirs, f"{length} tokens each")], [fact]
    )


if __name__ == "__main__":
    main("trl", measure)
