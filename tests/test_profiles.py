"""What is known of models by their names."""

import warnings

import pytest

from agentic_vision import ConfigError
from agentic_vision.policies.image_bytes import ImageBytes, encoded
from agentic_vision.policy import ImagePart, PromptStyle
from agentic_vision.profiles import UNKNOWN, profile
from agentic_vision.source import Source
from agentic_vision.view import View
from agentic_vision.visual_tokens import family


@pytest.mark.parametrize(
    ("model", "name", "of", "calls"),
    [
        ("Qwen/Qwen3-VL-8B-Instruct", "qwen3-vl", "qwen3-vl", "text"),
        ("qwen2.5-vl-7b-instruct", "qwen2.5-vl", "qwen2.5-vl", "text"),
        ("qwen2.5vl:7b", "qwen2.5-vl", "qwen2.5-vl", "text"),  # Ollama
        ("bartowski/Qwen_Qwen2.5-VL-7B-Instruct-GGUF", "qwen2.5-vl", "qwen2.5-vl", "text"),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "claude", "claude", "native"),  # Bedrock
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", "claude", "claude", "native"),
        ("Senqiao/VisionThink-Efficient", "visionthink", "qwen2.5-vl", "text"),
        ("gpt-4o-2024-08-06", "gpt-4", "openai-tiles", "native"),
        ("gpt-4o-mini", "gpt-4o-mini", "openai-tiles-4o-mini", "native"),
        ("gpt-5-mini", "gpt-mini", "openai-patches", "native"),
        ("gpt-5-nano", "gpt-nano", "openai-patches-nano", "native"),
        ("gpt-5", "gpt-5", "openai-tiles-gpt-5", "native"),
        ("o4-mini", "o4-mini", "openai-patches-o4", "native"),
        ("o3", "o-series", "openai-tiles-o", "native"),
        ("claude-sonnet-4-5", "claude", "claude", "native"),
        ("llava-v1.6-mistral-7b-hf", "llava-next", "llava-next", "text"),
        ("embedded", "embedded", "pocket", "text"),
    ],
)
def test_a_model_is_known_by_its_name(model, name, of, calls):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = profile(model)
    assert (found.name, found.family.name, found.calls) == (name, of, calls)
    assert found.style is {"native": PromptStyle.NATIVE, "text": found.style}[calls]


def test_an_unknown_model_gets_the_default_and_one_warning():
    with pytest.warns(UserWarning, match="nothing is known of the model 'brand-new-vl'"):
        assert profile("brand-new-vl").name == UNKNOWN
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert profile("brand-new-vl").family == family("qwen3-vl")
        assert profile("other-new-vl", family="claude", calls="native").style is PromptStyle.NATIVE


def test_what_the_user_knows_comes_first():
    found = profile("gpt-4o", calls="text", detail=None, price=None)
    assert (found.calls, found.style, found.detail, found.price) == ("text", PromptStyle.TEXT, None, None)
    with pytest.raises(ConfigError, match="calls"):
        profile("gpt-4o", calls="by telephone")
    with pytest.raises(ConfigError, match=r"model: .*its fields are family"):
        profile("gpt-4o", **{"model": "gpt-5"})


def test_prices_are_known_with_their_date():
    price = profile("gpt-4.1-mini").price
    assert price is not None
    assert price.as_of.year >= 2025
    assert price.cost(1_000_000, 0, 0) == pytest.approx(0.40)
    assert price.cost(1_000_000, 1_000_000, 1_000_000) == pytest.approx(0.10 + 1.60)
    with pytest.warns(UserWarning, match="nothing is known"):
        assert profile("a-model-without-a-price").price is None


@pytest.mark.parametrize(
    ("size", "shown", "tokens"),
    [  # the largest sizes of Anthropic's table, which are not shrunk, and what is
        ((1092, 1092), (1092, 1092), 39 * 39),
        ((951, 1268), (951, 1268), 34 * 46),
        ((896, 1344), (896, 1344), 32 * 48),
        ((819, 1456), (819, 1456), 30 * 52),
        ((784, 1568), (784, 1568), 28 * 56),
        ((200, 200), (200, 200), 64),
        ((4000, 4000), (1092, 1092), 39 * 39),
        ((8000, 1000), (1568, 196), 56 * 7),
    ],
)
def test_claudes_visual_tokens_are_as_published(size, shown, tokens):
    claude = family("claude")
    assert abs(claude.shown_size(size)[0] - shown[0]) <= 16
    assert claude.tokens(size) == tokens
    glance = claude.glance(size)
    assert glance.tokens <= tokens / 4


# Image bytes


def test_photographs_leave_as_jpeg_and_drawings_as_png_always_the_same(picture):
    drawing = picture.quantize(16).convert("RGB")
    assert encoded(picture)[0] == "jpeg"
    assert encoded(picture, None)[0] == "png"
    assert encoded(drawing)[0] == "png"
    assert len(encoded(picture, 30)[1]) < len(encoded(picture, 90)[1]) < len(encoded(picture, None)[1])
    source = Source.open(picture)
    part = ImagePart(view=View.whole(source.size, (300, 225)), source=source)
    images = ImageBytes()
    assert images.data_uri(part) is images.data_uri(part)  # encoded once
    assert images.data_uri(part) == ImageBytes().data_uri(part)
    assert Source.open(images.data_uri(part)).size == (300, 225)


def test_what_is_kept_of_encoded_images_is_bounded(picture, monkeypatch):
    monkeypatch.setattr("agentic_vision.policies.image_bytes.KEPT_BYTES", 150_000)
    source, images = Source.open(picture), ImageBytes()
    for width in range(200, 260, 10):
        images.data_uri(ImagePart(view=View.whole(source.size, (width, width)), source=source))
    assert images._bytes <= 150_000
    assert images._bytes == sum(map(len, images._kept.values()))
