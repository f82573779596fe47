"""Whether a predicted answer is the reference answer, by rule: what evaluation and rewards share."""

from .exact import normalised

__all__ = ["normalised"]
