"""What the pruning methods keep, on small tensors whose right answer is worked out by hand. Each stands alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from agentic_vision.policies.pruned.stream import Stream  # noqa: E402
from agentic_vision.policies.pruned.todre import diverse, is_relevant  # noqa: E402
from agentic_vision.policies.pruned.visiondrop import VisionDrop, choose  # noqa: E402


def test_max_sum_diversification_by_hand() -> None:
    # Similarities to all, themselves included: a 1.48, b 2.6, c 2.68, d 1: c is the pivot. To c: a .28, b .8, d .6, so
    # that a is next. Then b has .8 + .8 and d .6 - .6: d.
    a, b, c, d = (1.0, 0.0), (0.8, 0.6), (0.28, 0.96), (-0.6, 0.8)
    features = torch.tensor([a, b, c, d])
    assert diverse(features, 1).tolist() == [2]
    assert diverse(features, 2).tolist() == [0, 2]
    assert diverse(features, 3).tolist() == [0, 2, 3]
    assert diverse(features, 4).tolist() == [0, 1, 2, 3]
    assert diverse(features * torch.tensor([[3.0], [0.1], [2.0], [7.0]]), 3).tolist() == [0, 2, 3]  # cosines only


def merged(joined: torch.Tensor) -> torch.Tensor:
    """What becomes of tokens 0, 1, 2, ... behind another one."""
    hidden = torch.arange(-1.0, len(joined)).reshape(1, -1, 1)
    width = hidden.shape[1]
    mask = torch.ones(1, width, dtype=torch.bool)
    stream = Stream(hidden, torch.zeros(3, 1, width), mask, torch.tensor([[-1] + [0] * (width - 1)]), (width - 1,))
    stream.merge(0, torch.arange(1, width), joined)
    assert stream.hidden[0, 0] == -1
    return stream.hidden[0, 1:, 0]


def test_dominant_and_contextual_tokens_by_hand() -> None:
    # 4 of 8: three dominant (scores 9, 8, 7 at 1, 4, 6), one contextual: place 0, the first of the others, which
    # 2, 3, 5 and 7 join, for there is no other reference.
    scores = torch.tensor([0.0, 9.0, 1.0, 2.0, 8.0, 3.0, 7.0, 4.0])
    keys = torch.eye(8)
    joined, places = choose(scores, keys, 4)
    assert places.tolist() == [0, 1, 4, 6]
    assert merged(joined)[places].tolist() == [pytest.approx((0 + 2 + 3 + 5 + 7) / 5), 1.0, 4.0, 6.0]
    # 11 of 14: two references among the four that are not dominant, 0 and 2; 1 is like 2, and 3 is like 0.
    keys = torch.tensor([[1.0, 0.0], [0.1, 5.0], [0.0, 1.0], [2.0, 0.3]] + [[0.0, 0.0]] * 9)
    joined, places = choose(torch.arange(13.0), keys, 11)
    assert places.tolist() == [0, 2, *range(4, 13)]
    assert merged(joined)[places[:2]].tolist() == [1.5, 1.5]


def test_visiondrop_s_schedule_is_the_released_one() -> None:
    # 32 of LLaVA-1.5's 576 tokens, on its 32 layers: 48, 35, 26 and 19 in the authors' README.
    shares = VisionDrop().shares(32, 32 / 576)
    assert {after: round(share * 576) for after, share in shares.items()} == {0: 48, 8: 35, 16: 26, 24: 19}
    assert VisionDrop().shares(28, 1.0) == {0: 1.0, 7: 1.0, 14: 1.0, 21: 1.0}
    assert VisionDrop().shares(28, 0.9)[0] == 1.0


def test_relevance_by_hand() -> None:
    # A system token, two visual ones, two of text, behind a column of an earlier turn.
    image = torch.tensor([-1, 0, 0, -1, -1])
    mask = torch.ones(5, dtype=torch.bool)
    weights = torch.tensor(
        [
            [0.5, 0.5, 0.0, 0.0, 0.0, 0.0],
            [0.4, 0.4, 0.2, 0.0, 0.0, 0.0],
            [0.4, 0.3, 0.1, 0.2, 0.0, 0.0],
            [0.3, 0.3, 0.1, 0.1, 0.2, 0.0],
            [0.3, 0.3, 0.1, 0.0, 0.2, 0.1],
        ]
    )
    # Text gives visual tokens .2 and .1 of 2: 0.15. Visual tokens cannot see the text behind them: 0.
    assert is_relevant(weights, image, mask, 0.149)
    assert not is_relevant(weights, image, mask, 0.151)


def test_a_stream_closes_ranks_to_the_right() -> None:
    stream = Stream(
        hidden=torch.arange(10.0).reshape(2, 5, 1),
        positions=torch.arange(30).reshape(3, 2, 5),
        mask=torch.tensor([[True] * 5, [False, False, True, True, True]]),
        image=torch.tensor([[-1, 0, 0, 0, -1], [-1, -1, -1, 1, -1]]),
        tokens=(3, 1),
    )
    stream.keep(torch.tensor([[True, False, True, False, True], [True, True, True, False, True]]))
    assert stream.mask.tolist() == [[True] * 3, [False, True, True]]
    assert stream.hidden[..., 0].tolist()[0] == [0.0, 2.0, 4.0]
    assert stream.hidden[..., 0].tolist()[1][1:] == [7.0, 9.0]
    assert stream.positions[:, 1, 1:].tolist() == [[7, 9], [17, 19], [27, 29]]
    assert stream.image.tolist() == [[-1, 0, -1], [-1, -1, -1]]


@pytest.mark.parametrize("module", ["encoder_attention", "layer_attention"])
def test_a_module_that_needs_the_models_can_be_the_first_import(module: str) -> None:
    command = [sys.executable, "-c", f"import agentic_vision.policies.pruned.{module}"]
    subprocess.run(command, check=True, capture_output=True)
