"""What holds for all tests, and what many share. Property tests have no clock: a busy machine is no failure of ours.

Tests that ask the checkpoint that ships, or local weights, are skipped on an install without torch.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from endpoint_agent import RECEIPT
from hypothesis import HealthCheck, settings
from PIL import Image, ImageDraw
from tiny_checkpoints import ARCHITECTURES, make

from agentic_vision import VisionAgent

if TYPE_CHECKING:
    from agentic_vision.policies.transformers import TransformersPolicy

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The training runs first: they take minutes, much of it waiting, and all the rest goes on beside them."""
    items.sort(key=lambda item: item.path.name != "test_train.py")


@pytest.fixture(scope="session")
def picture() -> Image.Image:
    """1200 x 900 pixels of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny random checkpoint of each architecture."""
    pytest.importorskip("torch")
    root = tmp_path_factory.mktemp("checkpoints")
    return {name: make(root / name, name) for name in ARCHITECTURES}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def folder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


@pytest.fixture(scope="module")
def policy(folder: Path) -> TransformersPolicy:
    from agentic_vision.policies.transformers import TransformersPolicy

    return TransformersPolicy.load(folder, device="cpu", max_new_tokens=10)


@pytest.fixture(scope="session")
def qwen3(folders: dict[str, Path]) -> Path:
    return folders["qwen3_vl"]


@pytest.fixture(scope="module")
def embedded() -> VisionAgent:
    """An agent on the checkpoint that ships."""
    pytest.importorskip("torch")
    from agentic_vision.policies.embedded import EmbeddedPolicy

    return VisionAgent(EmbeddedPolicy.load())


@pytest.fixture(scope="module")
def readable(tmp_path_factory: pytest.TempPathFactory, picture: Image.Image) -> Path:
    """What a client of the MCP server may read, beside a secret that it may not."""
    outside = tmp_path_factory.mktemp("outside")
    root = outside / "root"
    root.mkdir()
    shutil.copy(RECEIPT, root)
    plan = Image.new("RGB", (2400, 1600), "white")
    ImageDraw.Draw(plan).text((2010, 1210), "gate 417", fill="black")
    plan.save(root / "a plan.png")
    picture.save(root / "photo.png")
    (root / "half.png").write_bytes((root / "photo.png").read_bytes()[:5000])
    (root / "notes.png").write_text("no image")
    (root / "empty.png").write_bytes(b"")
    os.mkfifo(root / "pipe.png")
    plan.save(outside / "secret.png")
    (root / "out").symlink_to(outside)
    (root / "link.png").symlink_to(outside / "secret.png")
    (root / "dangling.png").symlink_to(outside / "nothing.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    (root / "inside.png").symlink_to(root / "receipt.png")
    return root
