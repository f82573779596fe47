"""Glances, budgets and coordinates: what holds for every family, whatever the image's size."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentic_vision.errors import ConfigError
from agentic_vision.visual_tokens import FAMILIES, Family, QwenVL, family

sizes = st.tuples(st.integers(1, 9000), st.integers(1, 9000))
everyday = st.tuples(st.integers(200, 6000), st.integers(200, 6000))
families = st.sampled_from(sorted(FAMILIES)).map(family)
qwens = st.sampled_from([each for each in FAMILIES.values() if isinstance(each, QwenVL)])
Size = tuple[int, int]


@given(families, sizes, st.sampled_from([0.25, 0.1, 0.5, 1.0]))
@example(family("qwen3-vl"), (1, 9000), 0.25)
@settings(max_examples=250)
def test_a_glance_costs_at_most_the_fraction_or_says_that_it_cannot(model: Family, size: Size, fraction: float) -> None:
    glance = model.glance(size, fraction)
    assert glance.tokens == model.tokens(glance.size)
    assert glance.full_tokens == model.tokens(model.full(size))
    assert glance.tokens <= glance.full_tokens
    assert glance.floored == (glance.tokens > glance.full_tokens * fraction + 1e-6)


@given(families, sizes)
@settings(max_examples=300)
def test_what_is_sent_is_what_is_counted(model: Family, size: Size) -> None:
    """A size that we choose is final: choosing again for an image of that size changes nothing."""
    for chosen in (model.full(size), model.glance(size).size):
        assert model.tokens(model.full(chosen)) == model.tokens(chosen)


@given(qwens, sizes)
@settings(max_examples=300)
def test_qwen_sizes_pass_the_processor_unchanged(model: QwenVL, size: Size) -> None:
    for chosen in (model.full(size), model.glance(size).size, model.at_most(size, 100)):
        assert model.shown_size(chosen) == chosen
        assert max(chosen) <= 200 * min(chosen)


@given(qwens, st.tuples(st.integers(30, 1500), st.integers(30, 1500)), st.sampled_from([0.25, 0.4]))
@settings(max_examples=80)
def test_no_larger_glance_fits_the_budget(model: QwenVL, size: Size, fraction: float) -> None:
    """By trying every scale of the image, its sides rounded to cells as the processor rounds them."""
    glance = model.glance(size, fraction)
    scales = [scale / 3000 for scale in range(1, 3000)]
    grids = {tuple(max(1, round(side * scale / model.cell)) for side in size) for scale in scales}
    costs = [across * down for across, down in grids if across * down * model.cell**2 >= model.min_pixels]
    affordable = [cost for cost in costs if cost <= glance.full_tokens * fraction]
    if affordable:
        assert glance.tokens >= max(affordable)
        assert not glance.floored
    else:
        assert glance.tokens <= min([*costs, glance.full_tokens])


@given(families, everyday)
@settings(max_examples=200)
def test_the_aspect_is_kept(model: Family, size: Size) -> None:
    """To half a cell of the grid for Qwen, to a pixel for the others; LLaVA-1.5 sees squares only."""
    if model.name == "llava-1.5":
        return
    slack = model.cell / 2 + 1 if isinstance(model, QwenVL) else 1.01
    width, height = model.glance(size).size
    scale = math.sqrt(width * height / (size[0] * size[1]))
    nearest = min(abs(width - size[0] * scale), abs(height - size[1] * scale))
    assert nearest <= slack


@given(families, everyday, st.integers(1, 4000))
@settings(max_examples=200)
def test_at_most_grows_with_the_budget(model: Family, size: Size, budget: int) -> None:
    smaller, larger = model.tokens(model.at_most(size, budget)), model.tokens(model.at_most(size, 2 * budget))
    assert smaller <= larger or smaller > budget
    assert model.tokens(model.at_most(size, 10**9)) == model.tokens(model.full(size))


def test_the_sizes_everybody_asks_about() -> None:
    assert family("qwen2.5-vl").tokens((1280, 720)) == 46 * 26
    assert family("qwen3-vl").tokens((1024, 1024)) == 1024
    assert family("pocket").glance((256, 256)).size == (128, 128)
    assert family("pocket").glance((256, 256)).tokens == 64
    assert family("llava-1.5").tokens((1920, 1080)) == 576
    assert family("llava-next").tokens((672, 672)) == 576 + 48 * 48 + 48


def test_a_floor_that_makes_a_quarter_impossible_is_said() -> None:
    """Qwen3-VL enlarges anything below 256 x 256: an image of that size has no smaller look."""
    small = family("qwen3-vl").glance((300, 200))
    assert small.floored
    assert small.tokens == small.full_tokens == 70
    assert family("llava-1.5").glance((4000, 3000)).floored
    assert not family("qwen3-vl").glance((2000, 1500)).floored


def test_a_fraction_out_of_range_is_refused() -> None:
    for fraction in (0, -1, 1.01):
        with pytest.raises(ConfigError, match=r"choose from \(0, 1\]"):
            family("qwen3-vl").glance((100, 100), fraction)


def test_an_unknown_family_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'gpt-9'.*choose one of.*qwen2.5-vl"):
        family("gpt-9")


def test_qwen2_5_points_at_pixels_of_what_its_processor_made() -> None:
    model = family("qwen2.5-vl")
    shown = (1000, 600)  # becomes 1008 x 588
    assert model.shown_size(shown) == (1008, 588)
    assert model.to_fractions((504, 294, 1008, 588), shown) == (0.5, 0.5, 1, 1)
    assert model.from_fractions((0.5, 0.5, 1, 1), shown) == (504, 294, 1008, 588)


def test_qwen3_points_at_thousandths() -> None:
    for name in ("qwen3-vl", "qwen2-vl", "pocket"):
        assert family(name).to_fractions((250, 500, 1000, 750), (640, 480)) == (0.25, 0.5, 1, 0.75)


@given(families, everyday, st.tuples(*[st.integers(0, 1000)] * 4))
def test_what_a_model_writes_comes_back(model: Family, size: Size, bbox: tuple[int, int, int, int]) -> None:
    assert model.from_fractions(model.to_fractions(bbox, size), size) == bbox
