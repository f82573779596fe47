"""What can go wrong, by kind: the one place for the exceptions that this library raises on purpose.

Every message says what is wrong and how to mend it; the command line prints it as it is, on one line.
"""


class AgenticVisionError(Exception):
    """The base of all the errors below: `except AgenticVisionError` catches whatever we raise on purpose."""


class ImageError(AgenticVisionError):
    """An image cannot be used: missing, broken, of no known format, or larger than the limits of `source`."""


class ToolError(AgenticVisionError):
    """Raised by a visual tool to tell the model why its call did not work and what to do instead.

    It never reaches the user: the agent turns it into an observation. `hint` is the advice for the model's
    next turn.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(AgenticVisionError):
    """The library is used wrongly: a contradictory option, an unknown name, an extra not installed."""

    @classmethod
    def missing_extra(cls, extra: str, what: str) -> "ConfigError":
        """The error for a feature (`what`, the sentence's subject) whose optional dependencies are absent."""
        return cls(f"{what} needs packages that are not installed: pip install 'agentic-vision[{extra}]'")


class RowError(ConfigError):
    """A row of a data set cannot be used: no answer, or a reference that its matching rule cannot read."""


class PolicyError(AgenticVisionError):
    """The model behind the agent failed: weights that do not load, an endpoint without a usable reply."""


class ContextFullError(PolicyError):
    """The conversation is longer than the model, or its training, has room for."""


class RefusedError(PolicyError):
    """The model, or its provider's content filter, will not answer this question."""


class MisconfiguredError(PolicyError):
    """No question can succeed until a setting is mended: a wrong key, an unknown model, a model without vision."""
