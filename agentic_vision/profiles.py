"""What is known of a model by its name: its visual tokens, how it calls tools, what its endpoint expects, its price.

    profile("Qwen/Qwen3-VL-8B-Instruct").family   # Qwen3-VL's arithmetic
    profile("my-model", calls="native")           # what is known, with what you know better

The knowledge is data: `profiles.toml` and `prices.toml`, beside this module. A model of which nothing is known gets
the last profile there, with a warning once.
"""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Mapping
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from .errors import ConfigError
from .policy import PromptStyle
from .visual_tokens import FAMILIES, Family
from .visual_tokens import family as family_named

UNKNOWN = "unknown"


class Price(BaseModel):
    """US dollars a million tokens: of input, of input that was read from the provider's cache, of output."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float
    cached: float
    output: float
    as_of: date

    def cost(self, input_tokens: int, cached_tokens: int, output_tokens: int) -> float:
        """US dollars. `cached_tokens` are among `input_tokens`."""
        fresh = input_tokens - cached_tokens
        return (fresh * self.input + cached_tokens * self.cached + output_tokens * self.output) / 1e6


class Profile(BaseModel):
    """What is known of a model.

    `family` is a name of `visual_tokens.FAMILIES`, or a family of your own. `calls`: whether tools are called by the
    API's own function calling or in the text protocol; `style` follows from it unless given. `tool_images`: whether
    a chat message of role `tool` may hold images, or they follow in a user message. `detail`: sent with every image;
    `max_tokens`: the chat field that limits a reply; `reasoning`: the chat field that holds the model's reasoning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: str
    match: tuple[str, ...] = ()
    family: Family
    calls: Literal["native", "text"]
    style: PromptStyle
    tool_images: Literal["tool", "user"] = "user"
    detail: Literal["low", "high", "auto", "original"] | None = None
    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    reasoning: str | None = None
    price: Price | None = None

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, data: Any) -> Any:
        data = dict(data)
        if isinstance(data.get("family"), str):
            data["family"] = family_named(data["family"])
        data.setdefault("style", PromptStyle.NATIVE if data.get("calls") == "native" else PromptStyle.TEXT)
        return data


def profile(model: str, /, **known: Any) -> Profile:
    """The profile of a model, by its name; `known` are fields that you know better.

    Raises `ConfigError` for a field or a value that cannot be. Warns, once a name, where nothing is known.
    """
    found = _found(model, known)
    price = _price(model)
    try:
        return Profile.model_validate({**found, "price": price, **known})
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        field = ".".join(map(str, wrong["loc"])) or "profile"
        fields = ", ".join(name for name in Profile.model_fields if name not in ("name", "match"))
        raise ConfigError(f"the profile of {model}: {field}: {wrong['msg']}; its fields are {fields}") from error


def _found(model: str, known: Mapping[str, Any]) -> dict[str, Any]:
    entry = _matching(_data("profiles.toml")["profile"], model)
    assert entry is not None  # the last one matches all
    if entry["name"] == UNKNOWN and not known.keys() >= {"family", "calls"}:
        _warn_unknown(model)
    return entry


@cache
def _warn_unknown(model: str) -> None:
    warnings.warn(
        f"nothing is known of the model {model!r}: its visual tokens are counted as Qwen3-VL's, and tools are called "
        f"in the text protocol. Say what you know, profile={{'family': ..., 'calls': ...}}; families: "
        f"{', '.join(sorted(FAMILIES))}",
        stacklevel=4,
    )


def _price(model: str) -> Price | None:
    data = _data("prices.toml")
    entry = _matching(data["price"], model)
    if entry is None:
        return None
    return Price(**{name: value for name, value in entry.items() if name != "match"}, as_of=data["as_of"])


def _matching(entries: list[dict[str, Any]], model: str) -> dict[str, Any] | None:
    name = model.lower().rstrip("/").rpartition("/")[2]
    return next((entry for entry in entries if any(fnmatchcase(name, pattern) for pattern in entry["match"])), None)


@cache
def _data(file: str) -> dict[str, Any]:
    return tomllib.loads(files("agentic_vision").joinpath(file).read_text(encoding="utf-8"))
