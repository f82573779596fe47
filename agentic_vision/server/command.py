"""`agentic-vision serve`: the agent, or the bare policy, as an OpenAI-compatible endpoint."""

from __future__ import annotations

from typing import Annotated

import typer

from ..cli_options import (
    AllowUrlsOption,
    BaseUrlOption,
    PolicyOption,
    PortOption,
    TokensOption,
    ToolsOption,
    TurnsOption,
    make_agent,
)
from ..errors import ConfigError
from ..listening import bound, names, url
from ..listening import serve as listen
from ..url_rules import UrlRules
from .keys import KEYS, environments

serve = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@serve.command()
def run(
    policy: PolicyOption = None,
    base_url: BaseUrlOption = None,
    tools: ToolsOption = None,
    max_turns: TurnsOption = 4,
    max_visual_tokens: TokensOption = None,
    host: Annotated[str, typer.Option(help="0.0.0.0 serves other machines too: then give keys.")] = "127.0.0.1",
    port: PortOption = 8080,
    model: Annotated[str, typer.Option(help="The name under which it is served.")] = "agentic-vision",
    raw: Annotated[bool, typer.Option("--raw", help="Serve the bare policy, without the loop.")] = False,
    api_key: Annotated[
        list[str] | None,
        typer.Option(envvar=KEYS, help="A key that clients must send; repeat it for several."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A name under which it is called, beside this machine's own; repeat it for several."),
    ] = None,
    allow_urls: AllowUrlsOption = False,
    in_flight: Annotated[int, typer.Option(min=1, help="Most questions at once.")] = 32,
    queue: Annotated[int, typer.Option(min=0, help="Most questions that wait; beyond it: 429.")] = 128,
    deadline: Annotated[float, typer.Option(metavar="SECONDS", min=0.001, help="Most seconds a request.")] = 120.0,
    drain: Annotated[int, typer.Option(min=0, help="Seconds that running questions have after SIGTERM.")] = 30,
) -> None:
    """Serve the agent to any OpenAI client.

    Example: agentic-vision serve --policy Qwen/Qwen3-VL-2B-Instruct --port 8080
    """
    try:
        from .app import create_app
        from .settings import ServerSettings
    except ImportError as error:
        raise ConfigError.missing_extra("serve", "the server") from error

    keys = tuple(api_key or environments())
    settings = ServerSettings(
        model=model,
        raw=raw,
        api_keys=keys,
        hosts=names(host, allow_host or (), keys=bool(keys)),
        in_flight=in_flight,
        queue=queue,
        deadline=deadline,
        urls=UrlRules() if allow_urls else None,
    )
    socket = bound(host, port)
    agent = make_agent(policy, base_url, tools, max_turns=max_turns, max_visual_tokens=max_visual_tokens)
    listen(create_app(agent, settings), socket, f"agentic-vision serves {model} on {url(socket)}/v1", drain=drain)
