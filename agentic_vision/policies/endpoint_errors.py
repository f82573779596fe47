"""What did the endpoint mean by its error, and what mends it? Its exceptions as this library's own."""

from __future__ import annotations

import re

from ..endpoint import (
    USED_UP,
    BrokenStreamError,
    LateReplyError,
    code_of,
    is_unsendable,
    line,
    shortened,
    status_of,
    words_of,
)
from ..errors import ContextFullError, MisconfiguredError, PolicyError, RefusedError

# Servers agree on status codes, and hardly on codes and words. These are guesses at the usual ones; what none of them
# matches is told by its status alone.
_TOO_LONG = re.compile(
    r"context[ _](length|window)|maximum (context|model|input) len|max_model_len|too many tokens|"
    r"prompt is too long|longer than the maximum|exceeds? the (available|maximum) context|input is too long",
    re.IGNORECASE,
)
_FILTERED = re.compile(
    r"content[ _-](filter|policy|management)|responsible ?ai|safety system|moderation", re.IGNORECASE
)
# Of the model or the endpoint, never of one picture ("images larger than 20 MB", "an aspect ratio of 250:1"): behind
# what is not taken comes the end of the clause, or the model.
_PICTURES = r"(images|(image|vision|multi-?modal)([ _-](inputs?|urls?|content|capabilit\w+|understanding))?)"
_AT_ALL = r"(?=\W*$|[\"']?\s*[.,;:()]|\s+-\s|\s+(by|for|in|on|with)\s+(this|the)\s+(model|endpoint|server|deployment))"
_BLIND = re.compile(
    rf"(not|n't) (currently )?(support|accept|take|have) (any |a )?{_PICTURES}{_AT_ALL}|"
    rf"\b(images|(image|vision|multi-?modal)[ _-](inputs?|urls?|content|capabilit\w+|understanding)|vision)"
    rf"( is| are)? ?(not|un) ?(supported|accepted|allowed|available|enabled){_AT_ALL}|"
    r"image_url is only supported by|at most 0 image|not a (multi-?modal|vision) model|"
    r"unknown variant `?image_url|mmproj",
    re.IGNORECASE,
)


KEY = "pass api_key, or set OPENAI_API_KEY"


def as_policy_error(error: Exception, model: str) -> PolicyError:
    """The error of a request that is not sent again, with its mend."""
    return known_error(error, model) or _nonsense(f"{type(error).__name__}: {line(error)}")


def known_error(error: Exception, model: str, key: str = KEY) -> PolicyError | None:
    """The same for what has an HTTP status, or comes of the openai package; None for anything else.

    `key`: how the key is mended.
    """
    import openai

    if is_unsendable(error):
        return MisconfiguredError(
            "the request cannot be sent, a header of it is against HTTP: pass the key, and what else goes into "
            "headers, exactly as the provider shows it"
        )
    said = line(error)
    match error:
        case openai.APITimeoutError() | LateReplyError():
            return PolicyError(
                f"the endpoint did not answer in time: allow more (timeout), or ask less at once ({said})"
            )
        case openai.APIResponseValidationError():
            return _nonsense(said)
        case openai.APIConnectionError():
            cause = line(error.__cause__) if error.__cause__ else said
            return PolicyError(f"the endpoint cannot be reached ({cause}): check base_url, and that it is running")
        case BrokenStreamError():
            return PolicyError(f"the endpoint's stream broke off: {said}")
    status = status_of(error)
    return None if status is None else refused(status, code_of(error), words_of(error), model, key)


def refused(status: int, code: str, words: str, model: str, key: str = KEY) -> PolicyError:
    """The error of a reply with the HTTP `status`: `code` is the endpoint's own word for it, `words` its message;
    `key` how the key is mended.
    """
    said = shortened(words)
    if code in USED_UP or status == 402:
        return MisconfiguredError(f"the account has nothing left to spend ({said}): see to its billing")
    # Overloads speak of too many tokens, too; a 403 may be a filter's.
    if status not in (401, 429) and (found := _by_words(f"{code} {words}", model, said)):
        return found
    if status in (401, 403):
        return MisconfiguredError(f"the endpoint refuses the key ({said}): {key}")
    if status == 404:
        return MisconfiguredError(f"the endpoint knows no such model or address ({said}): check {model!r} and base_url")
    if status == 413:
        return PolicyError(f"the request is too large for the endpoint ({said}): lower image_quality, or show less")
    if status == 429:
        return PolicyError(
            f"the endpoint is overloaded ({said}): ask fewer questions at once, or wait longer (patience)"
        )
    if status >= 500:
        return PolicyError(f"the endpoint is down ({said}): try again later, or wait longer (patience)")
    return PolicyError(f"the endpoint refuses this request ({said})")


def _by_words(words: str, model: str, said: str) -> PolicyError | None:
    if _TOO_LONG.search(words):
        return ContextFullError(
            f"the conversation is longer than {model} reads ({said}): show it fewer or smaller images"
        )
    if _FILTERED.search(words):
        return RefusedError(f"the endpoint's content filter refused ({said}): ask otherwise, or another model")
    if _BLIND.search(words):
        return MisconfiguredError(f"{model} does not take images ({said}): name a model with vision")
    return None


def _nonsense(said: str) -> PolicyError:
    return PolicyError(
        f"the endpoint's reply makes no sense ({said}): does base_url end where /chat/completions begins "
        "(often in /v1)?"
    )
