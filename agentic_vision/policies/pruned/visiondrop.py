"""VisionDrop: visual tokens are judged by visual tokens alone, dropped stage by stage, and merged as they go.

Xu et al., "Rethinking Visual Token Reduction in LVLMs under Cross-modal Misalignment", AAAI 2026, arXiv 2506.22283.
What is the paper's (method section, and its released code where the paper is silent):
- A token's score is the attention that it gets from the image's tokens, averaged over these and the heads; text has
  no say. In an encoder without a [CLS] token, as ours are, the score is that same average.
- Tokens are dropped after the encoder, and after 1/4, 1/2 and 3/4 of the language layers.
- The first stage keeps 1.5 times the target. The released example for 32 tokens is 48, 35, 26, 19: each stage keeps
  the same part of what the stage before kept, and the mean over the layers is the target. So it is here: `kept` is
  that mean.
- The dominant tokens stay as they are. Of the others, evenly spaced ones are references, and each of the rest joins
  the reference whose key is most like its own (cosine, keys averaged over heads): the contextual tokens.

Settled here:
- One contextual token for six dominant ones; the released example has between 5 and 7, the paper finds no difference.
- A contextual token is the mean of the reference and all that joined it. The released code adds the mean of those
  that joined to the reference, which doubles its size; a mean stays of a size that the next layer knows.
- It keeps its reference's place and rotary position, where the released code numbers all tokens anew.
- Where 1.5 times `kept` is more than everything, the first stage keeps everything.
- In the language model the attention is that of a stage's last layer; the released code takes that of the layer
  behind it. The score is of the image's own tokens, one image at a time.
- Qwen3-VL's deepstack features are dropped and merged as their tokens are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from .encoder_attention import EncoderAttention
from .layer_attention import LayerAttention
from .method import checked_layer, count, highest, mean_share
from .stream import Stream

FIRST = 1.5  # of the target, after the encoder
CONTEXTUAL = 1 / 7  # of the tokens that a stage keeps


@dataclass(frozen=True)
class VisionDrop:
    """`layers`: after which stages end; None is a quarter, half and three quarters of the model's."""

    layers: tuple[int, ...] | None = None
    name = "visiondrop"
    reads_encoder = True

    def shares(self, layers: int, kept: float) -> dict[int, float]:
        if self.layers is None:
            ends = {max(1, round(layers * quarter / 4)) for quarter in (1, 2, 3)} - set(range(layers, layers + 2))
        else:
            ends = {checked_layer(self.name, layer, layers) for layer in self.layers}
        stages = (0, *sorted(ends))
        first = min(1.0, FIRST * kept) if ends else kept
        low, high = 0.0, 1.0
        while high - low > 1e-9:  # what each stage keeps of the last: the mean over the layers grows with it
            middle = (low + high) / 2
            mean = mean_share(_schedule(stages, first, middle), layers)
            low, high = (middle, high) if mean < kept else (low, middle)
        return _schedule(stages, first, high)

    def prune(self, stream: Stream, share: float, seen: EncoderAttention | LayerAttention | None) -> None:
        keys = seen.new_keys() if isinstance(seen, LayerAttention) else None
        kept = stream.image < 0
        for image, tokens in enumerate(stream.tokens):
            row, columns = stream.places(image)
            number = count(share, tokens)
            if number >= len(columns):
                kept[row, columns] = True
                continue
            if isinstance(seen, LayerAttention) and keys is not None:
                attended = seen.weights(row, columns)[:, -stream.mask.shape[1] :]
                scores, metric = attended[:, columns].mean(dim=0), keys[row, columns]
            else:
                assert isinstance(seen, EncoderAttention)
                scores, metric = seen.of(image)
            joined, places = choose(scores, metric, number)
            stream.merge(row, columns, joined)
            kept[row, columns[places]] = True
        stream.keep(kept)


def choose(scores: torch.Tensor, keys: torch.Tensor, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `number` of an image's tokens that stay, by `scores` (tokens) and `keys` (tokens x size): which place each
    token joins, its own where it joins none, and the places that stay, in order.
    """
    contextual = int(number * CONTEXTUAL + 0.5)
    dominant = highest(scores, number - contextual)
    joined = torch.arange(len(scores), device=scores.device)
    if contextual == 0:
        return joined, dominant
    others = torch.ones_like(scores, dtype=torch.bool).index_fill(0, dominant, False).nonzero().squeeze(1)
    spaced = torch.arange(contextual, device=scores.device) * (len(others) // contextual)
    joining = torch.ones_like(others, dtype=torch.bool).index_fill(0, spaced, False)
    references, rest = others[spaced], others[joining]
    metric = normalize(keys, dim=1)
    joined[rest] = references[(metric[rest] @ metric[references].T).argmax(dim=1)]
    return joined, torch.cat([dominant, references]).sort().values


def _schedule(stages: tuple[int, ...], first: float, ratio: float) -> dict[int, float]:
    return {after: first * ratio**index for index, after in enumerate(stages)}
