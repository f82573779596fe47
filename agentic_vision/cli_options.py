"""Options that several commands share, and the agent that they describe."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import ConfigError
from .imports import load

if TYPE_CHECKING:
    from .agent import VisionAgent

WEIGHTS = ("*.safetensors", "*.bin")

PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="NAME_OR_FOLDER",
        show_default="the small checkpoint in this package",
        help="A checkpoint folder or a hub name.",
    ),
]
ToolsOption = Annotated[
    str | None,
    typer.Option(
        "--tools",
        metavar="A,B",
        show_default="zoom_crop,full_res,resize",
        help="Tools that the model may call: installed ones, and your own as file.py:name; '' for none.",
    ),
]
TurnsOption = Annotated[int, typer.Option(min=1, help="Most messages of the model to one question.")]
TokensOption = Annotated[
    int | None, typer.Option(min=1, show_default="no limit", help="Most visual tokens to one question.")
]
BaseUrlOption = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        metavar="URL",
        help="An OpenAI-compatible endpoint, which --policy then names a model of; its key is OPENAI_API_KEY.",
    ),
]
SeedOption = Annotated[int, typer.Option(help="Fixes what is drawn by chance.")]
PortOption = Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="0 takes a free one and says which.")]
AllowUrlsOption = Annotated[
    bool,
    typer.Option(
        "--allow-urls",
        help="Fetch images that clients give by http(s) URL; from private hosts only those in "
        "AGENTIC_VISION_ALLOW_HOSTS, separated by commas.",
    ),
]


def make_agent(
    policy: str | None,
    base_url: str | None,
    tools: str | None,
    *,
    max_turns: int,
    max_visual_tokens: int | None,
    seed: int | None = None,
) -> VisionAgent:
    """The agent of these options. Raises `ConfigError` where they contradict each other."""
    checked_endpoint(policy, base_url)
    from .agent import VisionAgent

    return VisionAgent(
        policy,
        base_url=base_url,
        tools=chosen_tools(tools),
        max_turns=max_turns,
        max_visual_tokens=max_visual_tokens,
        seed=seed,
    )


def checked_endpoint(policy: str | None, base_url: str | None) -> None:
    """Raises `ConfigError` for an endpoint without a model, in the words of the command line."""
    if base_url is not None and policy is None:
        raise ConfigError("--base-url is an endpoint's: name its model, --policy MODEL")


def policy_identity(policy: str | None, base_url: str | None) -> str:
    """What tells a policy from others: where it is asked, or its name and a digest of its weights if they are files."""
    if base_url is not None:
        return f"{policy} at {base_url}"
    folder = Path(policy) if policy else Path(__file__).parent / "policies" / "embedded_checkpoint"
    weights = sorted(path for kind in WEIGHTS for path in folder.glob(kind))
    if not weights:  # of a hub: it names them
        return str(policy)
    digest = hashlib.sha256()
    for path in weights:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"{policy or 'embedded'} {digest.hexdigest()[:16]}"


def chosen_tools(tools: str | None) -> list[Any] | None:
    """The tools asked for: names of installed ones, and what `file.py:name` and `package.module:name` name.

    None for the agent's usual ones. Raises `ConfigError` for what cannot be loaded.
    """
    if tools is None:
        return None
    return [load(name) if ":" in name else name for name in map(str.strip, tools.split(",")) if name]
