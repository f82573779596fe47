"""Is the arithmetic the models' own? Thousands of sizes against their processors and published formulas."""

import math
import random
from fractions import Fraction
from types import ModuleType

import pytest
from PIL import Image

from agentic_vision.visual_tokens import FixedGrid, LlavaNext, OpenAIPatches, OpenAITiles, QwenVL, family

Size = tuple[int, int]


def many_sizes(n: int, longest: int = 6000, aspect: float = 200) -> list[Size]:
    """Sizes of all magnitudes and shapes, the same ones every time, with the usual ones among them."""
    draw = random.Random(7)
    usual = [
        (640, 480),
        (1280, 720),
        (1920, 1080),
        (2048, 2048),
        (4000, 3000),
        (4032, 3024),
        (336, 336),
        (28, 28),
    ]
    drawn = [tuple(round(math.exp(draw.uniform(0, math.log(longest)))) for _ in "wh") for _ in range(n)]
    return [size for size in usual + drawn if max(size) <= aspect * min(size)]  # type: ignore[misc]


@pytest.fixture(scope="module")
def transformers() -> ModuleType:
    return pytest.importorskip("transformers", reason="needs the extra: pip install 'agentic-vision[local]'")


@pytest.mark.parametrize("name", ["qwen2-vl", "qwen2.5-vl", "qwen3-vl", "pocket"])
def test_qwen_counts_as_its_processor_does(name: str, transformers: ModuleType) -> None:
    model = family(name)
    assert isinstance(model, QwenVL)
    processor = qwen_processor(transformers, model)
    for width, height in many_sizes(5000):
        patches = processor.get_number_of_image_patches(height, width, {})
        assert model.tokens((width, height)) * model.merge_size**2 == patches, (width, height)


def qwen_processor(transformers: ModuleType, model: QwenVL):  # type: ignore[no-untyped-def]
    """The PIL processor: the other backend needs torchvision, which has no build for every torch."""
    return transformers.Qwen2VLImageProcessorPil(
        patch_size=model.patch_size,
        merge_size=model.merge_size,
        size={"shortest_edge": model.min_pixels, "longest_edge": model.max_pixels},
    )


@pytest.mark.parametrize("name", ["qwen2.5-vl", "qwen3-vl", "pocket"])
def test_qwen_shows_what_its_processor_makes(name: str, transformers: ModuleType) -> None:
    """Through real images: the grid that comes out, for raw sizes and for the sizes that we would send."""
    model = family(name)
    assert isinstance(model, QwenVL)
    processor = qwen_processor(transformers, model)
    for size in many_sizes(14, longest=250, aspect=20)[8:]:
        for sent in (size, model.full(size), model.glance(size).size):
            grid = processor(Image.new("RGB", sent))["image_grid_thw"][0]
            assert (grid[2] * model.patch_size, grid[1] * model.patch_size) == model.shown_size(sent)


def test_a_family_is_read_off_a_processor(transformers: ModuleType) -> None:
    for name in ("qwen2-vl", "qwen3-vl", "pocket"):
        model = family(name)
        assert isinstance(model, QwenVL)
        assert QwenVL.from_processor(qwen_processor(transformers, model), name) == model


def test_llava_1_5_is_one_square(transformers: ModuleType) -> None:
    model = family("llava-1.5")
    assert isinstance(model, FixedGrid)
    processor = transformers.LlavaImageProcessorPil(
        size={"shortest_edge": model.side}, crop_size={"height": model.side, "width": model.side}
    )
    for size in many_sizes(20, longest=400, aspect=20)[4:]:
        height, width = processor(Image.new("RGB", size))["pixel_values"][0].shape[-2:]
        assert (width, height) == model.shown_size(size)
        assert (width // model.patch_size) * (height // model.patch_size) == model.tokens(size)


def test_llava_next_counts_as_its_processor_does(transformers: ModuleType) -> None:
    model = family("llava-next")
    assert isinstance(model, LlavaNext)
    processor = llava_next_processor(transformers, model)
    for width, height in many_sizes(5000):
        # The "default" feature selection drops the class token that the processor counts.
        expected = processor._get_number_of_features(height, width, model.tile, model.tile) - 1
        assert model.tokens((width, height)) == expected, (width, height)


def llava_next_processor(transformers: ModuleType, model: LlavaNext):  # type: ignore[no-untyped-def]
    """The processor's counting needs no tokenizer, which its constructor would."""
    processor = object.__new__(transformers.LlavaNextProcessor)
    pinpoints = [[height, width] for width, height in model.canvases]
    processor.image_processor = transformers.LlavaNextImageProcessorPil(image_grid_pinpoints=pinpoints)
    processor.patch_size, processor.num_additional_image_tokens = model.patch_size, 1
    return processor


def test_llava_next_is_sent_no_more_than_it_shows() -> None:
    model = family("llava-next")
    for size in many_sizes(2000):
        full = model.full(size)
        assert model.tokens(full) == model.tokens(size)
        assert full[0] <= size[0]
        assert full[1] <= size[1]


@pytest.mark.parametrize(
    ("size", "tokens"),
    [
        ((1024, 1024), 765),  # the two examples of OpenAI's page
        ((2048, 4096), 1105),
        ((512, 512), 255),
        ((1, 1), 255),
        ((768, 2048), 85 + 170 * 8),
    ],
)
def test_openai_tiles_published(size: Size, tokens: int) -> None:
    assert family("openai-tiles").tokens(size) == tokens


def test_openai_tiles_by_the_published_steps() -> None:
    """Scale into 2048 x 2048, then the short side to 768, in exact fractions."""
    model = family("openai-tiles")
    assert isinstance(model, OpenAITiles)
    differ = 0
    for size in (sizes := many_sizes(5000)):
        width, height = Fraction(size[0]), Fraction(size[1])
        for side, most in ((max, 2048), (min, 768)):
            shrink = min(Fraction(1), most / side(width, height))
            width, height = width * shrink, height * shrink
        tiles = math.ceil(width / 512) * math.ceil(height / 512)
        # Images have whole pixels and the page does not say how sides are rounded: a fraction of a pixel
        # beyond the edge of a tile is the one thing that may differ.
        whole = math.ceil(int(width) / 512 or 1) * math.ceil(int(height) / 512 or 1)
        assert (model.tokens(size) - 85) / 170 in (tiles, whole), size
        differ += (model.tokens(size) - 85) / 170 != tiles
    assert differ < len(sizes) / 500


@pytest.mark.parametrize(
    ("size", "patches"),
    [
        ((1024, 1024), 1024),  # the two examples of OpenAI's page
        ((1800, 2400), 1452),
        ((32, 32), 1),
        ((33, 32), 2),
    ],
)
def test_openai_patches_published(size: Size, patches: int) -> None:
    assert OpenAIPatches("one token a patch", factor=1).tokens(size) == patches
    assert family("openai-patches").tokens(size) == math.ceil(patches * 1.62)


def test_openai_patches_by_the_published_steps() -> None:
    model = OpenAIPatches("one token a patch", factor=1)
    for size in many_sizes(5000, aspect=30):
        width, height = size
        patches = math.ceil(width / 32) * math.ceil(height / 32)
        if patches > 1536:
            shrink = math.sqrt(1536 * 32**2 / (width * height))
            across, down = width * shrink / 32, height * shrink / 32
            shrink *= min(math.floor(across) / across, math.floor(down) / down)
            patches = math.ceil(round(width * shrink / 32, 6)) * math.ceil(round(height * shrink / 32, 6))
        assert model.tokens(size) == patches <= 1536, size
