"""Is the answer right? Rewards of 1 or 0 (ANLS: in between) that need no judge, but a rule of `matching`.

No answer is a wrong one, but where the policy itself failed (an endpoint that is down) there is no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentic_vision import matching

from .reward import Group, Part, Scoring


class Accuracy(Part):
    """The best score that an answer gets against any of the references, by the rule `matcher`.

    A subclass sets the rule, and says what it hears of the row's `options`.
    """

    name = "accuracy"
    matcher: matching.Matcher

    def options(self, group: Group) -> Sequence[str]:  # noqa: ARG002
        """The texts to choose from, A first."""
        return ()

    async def values(self, scoring: Scoring) -> Sequence[float | None]:
        group = scoring.group
        options = self.options(group)
        scores: list[float | None] = []
        for trajectory in group.trajectories:
            if trajectory.answer is None:
                scores.append(None if trajectory.stop_reason.failed else 0.0)
            else:
                scores.append(self.matcher.compare(trajectory.answer, group.references, options))
        return scores


class ExactMatch(Accuracy):
    """1 where answer and reference are the same but for case, blanks, outer punctuation and Unicode form."""

    matcher = matching.Exact()


class NumericMatch(Accuracy):
    """1 where the answer's one number is the reference's, within a share `tolerance` of it: `matching.Numeric`.

    0 means the same number; 0.05 is ChartQA's relaxed accuracy (Masry et al., Findings of ACL 2022).
    """

    def __init__(self, tolerance: float = 0.0) -> None:
        """Raises `ConfigError` for a negative tolerance."""
        self.matcher = matching.Numeric(tolerance)


class Anls(Accuracy):
    """Average normalised Levenshtein similarity (Biten et al., ICCV 2019): 1 - distance / longer length.

    0 unless that is above `threshold`.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        """Raises `ConfigError` for a threshold outside 0 to 1."""
        self.matcher = matching.Anls(threshold)


class MultipleChoice(Accuracy):
    """1 where the answer names the right letter: `B`, `(b)`, `B. a cat`, `The answer is B`: `matching.Choice`.

    With `options` in the group's row (a list, A first), the option's own words are an answer too. A reference that
    names no choice is a failure of the data, recorded as such.
    """

    matcher = matching.Choice()

    def options(self, group: Group) -> Sequence[str]:
        given = group.row.get("options")
        if isinstance(given, str):
            raise TypeError(f"options is the text {given!r}: give a list of texts")
        return [] if given is None else [str(option) for option in given]
