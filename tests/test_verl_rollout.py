"""What verl trains on is what the policy saw and wrote: token for token, image for image, to the log-probability."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("verl")

from tiny_checkpoints import make
from verl_rollout import CROP, TWO, Rollout

from agentic_vision.errors import PolicyError
from agentic_vision.messages import FailureKind, StopReason
from agentic_vision.training.verl.cpu.generation import Sampling

PHOTO = Image.fromarray(np.random.default_rng(3).integers(0, 255, (500, 700, 3), dtype=np.uint8))


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("tiny") / request.param, request.param)


@pytest.mark.parametrize("says", [(), (CROP,), (TWO,), (CROP, TWO)], ids=["text", "crop", "two_tools", "three_turns"])
def test_rollout_and_actor_agree(folder: Path, says: tuple[str, ...]) -> None:
    rollout = Rollout(folder, *says)
    trajectory, record = rollout.ask(PHOTO)
    assert len(trajectory.turns) > len(says)  # the model's own turns follow: at least one after the tools' images
    assert len(record.images) == len(trajectory.views) == 1 + sum(text.count("<tool_call>") for text in says)
    assert rollout.check(trajectory, record) is None
    own = torch.tensor(record.mask, dtype=torch.bool)
    actor = rollout.log_probs(record.ids, record.images)[record.prompt - 1 :]
    assert own.sum() == sum(turn.output_tokens for turn in trajectory.turns)
    torch.testing.assert_close(torch.tensor(record.log_probs)[own], actor[own], atol=1e-4, rtol=0)
    assert set(torch.tensor(record.log_probs)[~own].tolist()) <= {0.0}


def test_nothing_is_read_twice(folder: Path) -> None:
    """A prompt once for all of its trajectories, and of a further turn only what it adds."""
    rollout = Rollout(folder)
    widths: list[int] = []
    forward = rollout.model.model.language_model.forward

    def watched(*args: object, **kwargs: torch.Tensor) -> object:
        widths.append(kwargs["inputs_embeds"].shape[1])
        return forward(*args, **kwargs)

    rollout.model.model.language_model.forward = watched
    trajectories = [rollout.ask(PHOTO, seed=seed) for seed in (1, 2, 3)]
    (first, *others), records = zip(*trajectories, strict=True)
    assert len(first.turns) > 1
    read = [width for width in widths if width > 1]
    assert read.count(records[0].prompt - 1) == 1  # its last token is what each begins with
    assert others
    added = sum(len(record.ids) - record.prompt for record in records)
    assert sum(read) < records[0].prompt + added


def test_equal_seeds_give_equal_rollouts_whatever_runs_beside_them(folder: Path) -> None:
    rollout = Rollout(folder)
    _, alone = rollout.ask(PHOTO, seed=5)
    beside = Rollout(folder)

    async def several() -> list[str]:
        results = await asyncio.gather(*(beside.agent.aask(PHOTO, "What is it?", seed=seed) for seed in (4, 5, 6)))
        return [result.trajectory.id for result in results]

    ids = asyncio.run(several())
    records = [beside.policy.take(id) for id in ids]
    assert records[1].ids == alone.ids
    assert records[0].ids != alone.ids


def test_a_turn_that_does_not_fit_is_dropped_whole(folder: Path) -> None:
    rollout = Rollout(folder, CROP, response_length=150)
    trajectory, record = rollout.ask(PHOTO)
    assert trajectory.stop_reason is StopReason.CONTEXT_FULL
    assert "max_response_length=150" in (trajectory.detail or "")
    assert len(record.images) == 1  # the crop's tokens are not among the ids, nor is it among the images
    assert record.mask == [1] * (len(record.mask) - 1) + [0]  # one turn of the model's, and the template's newline
    assert trajectory.observations[-1].failure is None
    assert rollout.log_probs(record.ids, record.images) is not None


def test_a_prompt_that_does_not_fit_trains_nothing(folder: Path) -> None:
    rollout = Rollout(folder)
    rollout.policy.prompt_length = 40
    trajectory, record = rollout.ask(PHOTO)
    assert trajectory.stop_reason is StopReason.CONTEXT_FULL
    assert record.ids == []


class TestDisagreements:
    """Each kind of shift is found, and said where."""

    @pytest.fixture
    def told(self, folder: Path) -> tuple[Rollout, object, object]:
        rollout = Rollout(folder, CROP)
        return (rollout, *rollout.ask(PHOTO))

    def test_text(self, told: tuple[Rollout, object, object]) -> None:
        rollout, trajectory, record = told
        record.ids[5] = record.ids[6]
        assert rollout.check(trajectory, record).what == "text"

    def test_a_lost_image(self, told: tuple[Rollout, object, object]) -> None:
        rollout, trajectory, record = told
        record.images.pop()
        found = rollout.check(trajectory, record)
        assert (found.what, found.at, found.expected) == ("image tokens", 1, "None")

    def test_images_in_another_order(self, told: tuple[Rollout, object, object]) -> None:
        rollout, trajectory, record = told
        record.images.reverse()
        assert rollout.check(trajectory, record).what == "image tokens"

    def test_pixels_of_another_size(self, told: tuple[Rollout, object, object]) -> None:
        rollout, trajectory, record = told
        rollout.processor.image_processor.size["longest_edge"] //= 8
        assert rollout.check(trajectory, record).what == "features"

    def test_mask(self, told: tuple[Rollout, object, object]) -> None:
        rollout, trajectory, record = told
        record.mask[0] = 0
        found = rollout.check(trajectory, record)
        assert (found.what, found.at) == ("mask", 0)


def test_the_server_says_what_it_cannot_do(folder: Path) -> None:
    rollout = Rollout(folder)
    with pytest.raises(PolicyError, match="does not know top_p"):
        Sampling.of({"top_p": 0.9}, 10)
    with pytest.raises(PolicyError, match="image tokens"):
        asyncio.run(rollout.server.generate("x", prompt_ids=[1, rollout.encoder.image_id], sampling_params={}))
    with pytest.raises(PolicyError, match="no room"):
        asyncio.run(rollout.server.generate("x", prompt_ids=[1] * 6000, sampling_params={}))


def test_a_tool_that_fails_is_trained_on_as_text(folder: Path) -> None:
    rollout = Rollout(folder, '<tool_call>{"name": "zoom", "arguments": {}}</tool_call>')
    trajectory, record = rollout.ask(PHOTO)
    failure = trajectory.observations[1].failure
    assert failure is not None
    assert failure.kind is FailureKind.UNKNOWN_TOOL
    assert rollout.check(trajectory, record) is None
