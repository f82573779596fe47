"""What holds for all tests, and what many share. Property tests have no clock: a busy machine is no failure of ours."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image
from tiny_checkpoints import ARCHITECTURES, make

from agentic_vision.policies.transformers import TransformersPolicy

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def picture() -> Image.Image:
    """1200 x 900 pixels of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny random checkpoint of each architecture."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {name: make(root / name, name) for name in ARCHITECTURES}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def folder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


@pytest.fixture(scope="module")
def policy(folder: Path) -> TransformersPolicy:
    return TransformersPolicy.load(folder, device="cpu", max_new_tokens=10)


@pytest.fixture(scope="session")
def qwen3(folders: dict[str, Path]) -> Path:
    return folders["qwen3_vl"]
