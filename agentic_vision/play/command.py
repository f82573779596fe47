"""`agentic-vision play`: a page on which one watches the agent look."""

from __future__ import annotations

from typing import Annotated

import typer

from ..cli_options import BaseUrlOption, PolicyOption, PortOption, SeedOption, TokensOption, TurnsOption, make_agent
from ..errors import ConfigError
from ..listening import bound, names, serve, url

play = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@play.command()
def run(
    policy: PolicyOption = None,
    base_url: BaseUrlOption = None,
    tools: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            show_default="zoom_crop,full_res,resize",
            help="Tools that are ticked at first; '' for none.",
        ),
    ] = None,
    max_turns: TurnsOption = 4,
    max_visual_tokens: TokensOption = None,
    seed: SeedOption = 0,
    host: Annotated[
        str, typer.Option(help="0.0.0.0 shows it to other machines: whoever reaches the page may ask.")
    ] = "127.0.0.1",
    port: PortOption = 7860,
) -> None:
    """Watch the agent look: a page to drop a picture on and ask, which shows every step as it comes.

    Example: agentic-vision play --port 7860
    """
    try:
        from .app import create_app
    except ImportError as error:
        raise ConfigError.missing_extra("play", "the page") from error

    socket = bound(host, port)
    agent = make_agent(policy, base_url, tools, max_turns=max_turns, max_visual_tokens=max_visual_tokens, seed=seed)
    app = create_app(agent, policy or "the small checkpoint in this package", names(host))
    told = f"agentic-vision plays on {url(socket)}/ (Ctrl-C ends it)"
    serve(app, socket, told, drain=0, log_level="critical")  # whoever presses Ctrl-C knows that it cuts questions off
