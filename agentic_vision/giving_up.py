"""When does a run of many questions give up? Where none can succeed, and where none does any more."""

from __future__ import annotations

from .errors import MisconfiguredError, PolicyError

REFUSED = 3  # questions that are turned away like a wrong setting, before it is one and not the questions
FAILING = 32  # questions that fail one after another, none answered between them


class GivingUp:
    """Counts how the questions of a run end, `at_once` of which are in flight."""

    def __init__(self, at_once: int) -> None:
        self._most = max(FAILING, at_once)
        self._failing = 0
        self._refused: int | None = None  # one after another; None until one was answered

    def answered(self) -> None:
        """One was answered, rightly or wrongly: the settings are good, and the model is there."""
        self._failing = self._refused = 0

    def refused(self, why: str | None) -> None:
        """One was turned away like a wrong setting. Raises `MisconfiguredError` where it is one.

        It is where no question was answered before. Where some were, it may be this question.
        """
        if self._refused is None or self._refused >= REFUSED:
            raise MisconfiguredError(why or "nothing can be answered until a setting is mended")
        self._refused += 1

    def failed(self, why: str | None) -> None:
        """One failed, for whatever reason of the policy's. Raises `PolicyError` where too many have."""
        self._failing += 1
        if self._failing >= self._most:
            raise PolicyError(
                f"the last {self._failing} questions have all failed ({why}): what is done is kept; run this again "
                "when that is mended"
            )
