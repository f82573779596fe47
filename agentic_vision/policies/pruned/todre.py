"""ToDRE: first the visual tokens that differ most from one another, then none at all where nobody looks any more.

Li et al., "ToDRE: Effective Visual Token Pruning via Token Diversity and Task Relevance", arXiv 2505.18757 (v2).
What is the paper's:
- Section 4.1, before the language model: greedy max-sum diversification. From a pivot on, the next token is the one
  whose cosine similarities to those already chosen sum up to the least (equations 4 to 6), until `kept` of them are
  chosen. The features are those that the language model is given.
- Section 4.2, within it: after 7/8 of the layers, two ratios of attention, averaged over heads (equation 7): what
  the text gives to visual tokens, of all that it gives, and what visual tokens give to the text. Where both are
  under 0.1, the layers behind see no visual token.

Settled here:
- The pivot is to be the token that [CLS] attends to most, and without a [CLS] token, as in our encoders, a random
  one does as well (the paper's words). We take the token whose similarities to all others sum up to the most, so
  that the same picture is always pruned alike.
- The text is what is read together with the images and stands behind the first of them; what is before, earlier
  turns included, counts as the system prompt. Visual tokens of earlier turns stay as they are.
- Each image is diversified by itself: it keeps its own share.
- `kept` = 1 prunes nothing, in neither stage. The second stage depends on the picture and the question, so shares
  do not count it: `processed_share` is what is seen at the most.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from .encoder_attention import EncoderAttention
from .layer_attention import LayerAttention
from .method import checked_layer, count
from .stream import Stream


@dataclass(frozen=True)
class ToDRE:
    """`layer`: after which relevance is looked at; None is 7/8 of the model's. `threshold`: both ratios under it end
    the visual tokens' way.
    """

    layer: int | None = None
    threshold: float = 0.1
    name = "todre"
    reads_encoder = False

    def shares(self, layers: int, kept: float) -> dict[int, float]:
        layer = max(1, layers * 7 // 8) if self.layer is None else self.layer
        return {0: kept, checked_layer(self.name, layer, layers): kept}

    def prune(self, stream: Stream, share: float, seen: EncoderAttention | LayerAttention | None) -> None:
        kept = stream.image < 0
        if isinstance(seen, LayerAttention):
            all_new = torch.arange(kept.shape[1], device=kept.device)
            for row in range(len(kept)):
                relevant = is_relevant(seen.weights(row, all_new), stream.image[row], stream.mask[row], self.threshold)
                kept[row] |= relevant
        else:
            for image, tokens in enumerate(stream.tokens):
                row, columns = stream.places(image)
                kept[row, columns[diverse(stream.hidden[row, columns], count(share, tokens))]] = True
        stream.keep(kept)


def diverse(features: torch.Tensor, number: int) -> torch.Tensor:
    """The indices of `number` of the `features` (tokens x size), chosen by greedy max-sum diversification."""
    unit = normalize(features.float(), dim=1)
    similar = unit @ unit.sum(dim=0)
    chosen = [similar.argmax()]
    total = unit @ unit[chosen[0]]
    taken = torch.zeros_like(total, dtype=torch.bool)
    while len(chosen) < number:
        taken[chosen[-1]] = True
        chosen.append(total.masked_fill(taken, torch.inf).argmin())
        total = total + unit @ unit[chosen[-1]]
    return torch.stack(chosen).sort().values


def is_relevant(weights: torch.Tensor, image: torch.Tensor, mask: torch.Tensor, threshold: float) -> bool:
    """Whether text and visual tokens of a row still look at each other.

    `weights`: tokens x columns, the last columns being the tokens'; `image`, `mask`: as in a `Stream`, of one row.
    """
    visual = image >= 0
    text = mask & ~visual & (visual.cumsum(dim=0) > 0)
    own = weights[:, -len(image) :]

    def given(by: torch.Tensor, to: torch.Tensor) -> float:
        return float(own[by][:, to].sum() / weights[by].sum())

    return given(text, visual) >= threshold or given(visual, text) >= threshold
