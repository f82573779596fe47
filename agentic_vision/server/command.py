"""`agentic-vision serve`: the agent, or the bare policy, as an OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ..cli_options import (
    AllowUrlsOption,
    BaseUrlOption,
    PolicyOption,
    TokensOption,
    ToolsOption,
    TurnsOption,
    make_agent,
)
from ..errors import ConfigError
from ..listening import BACKLOG, bound
from ..url_rules import UrlRules

LOCAL = ("127.0.0.1", "localhost", "::1")

serve = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@serve.command()
def run(
    policy: PolicyOption = None,
    base_url: BaseUrlOption = None,
    tools: ToolsOption = None,
    max_turns: TurnsOption = 4,
    max_visual_tokens: TokensOption = None,
    host: Annotated[str, typer.Option(help="0.0.0.0 serves other machines too: then give keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one and says which.")] = 8080,
    model: Annotated[str, typer.Option(help="The name under which it is served.")] = "agentic-vision",
    raw: Annotated[bool, typer.Option("--raw", help="Serve the bare policy, without the loop.")] = False,
    api_key: Annotated[
        list[str] | None,
        typer.Option(envvar="AGENTIC_VISION_API_KEYS", help="A key that clients must send; repeat it for several."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A name under which it is called, beside this machine's own; repeat it for several."),
    ] = None,
    allow_urls: AllowUrlsOption = False,
    in_flight: Annotated[int, typer.Option(min=1, help="Most questions at once.")] = 32,
    queue: Annotated[int, typer.Option(min=0, help="Most questions that wait; beyond it: 429.")] = 128,
    deadline: Annotated[float, typer.Option(min=0.001, help="Most seconds a request.")] = 120.0,
    drain: Annotated[int, typer.Option(min=0, help="Seconds that running questions have after SIGTERM.")] = 30,
) -> None:
    """Serve the agent to any OpenAI client.

    Example: agentic-vision serve --policy Qwen/Qwen3-VL-2B-Instruct --port 8080
    """
    try:
        import uvicorn

        from .app import Settings, create_app
    except ImportError as error:
        raise ConfigError.missing_extra("serve", "the server") from error

    settings = Settings(
        model=model,
        raw=raw,
        api_keys=tuple(api_key or ()),
        hosts=_names(host, allow_host or (), api_key or ()),
        in_flight=in_flight,
        queue=queue,
        deadline=deadline,
        urls=UrlRules() if allow_urls else None,
    )
    socket = bound(host, port)
    agent = make_agent(policy, base_url, tools, max_turns=max_turns, max_visual_tokens=max_visual_tokens)
    config = uvicorn.Config(
        create_app(agent, settings),
        http="h11",  # the one that bounds the headers of a request
        log_level="warning",
        timeout_graceful_shutdown=drain,
        access_log=False,
    )
    socket.listen(BACKLOG)  # whoever reads the address may call at once, and waits for the rest of the start
    address = socket.getsockname()
    typer.echo(f"agentic-vision serves {model} on http://{address[0]}:{address[1]}/v1", err=True)
    uvicorn.Server(config).run([socket])


def _names(host: str, allowed: Sequence[str], keys: Sequence[str]) -> tuple[str, ...]:
    """Under which names it may be called; none is every name.

    A page that was led here by DNS rebinding, in the browser of somebody on this machine, calls the server by a name
    that is not the machine's own. With keys that page would need one.
    """
    return (*LOCAL, *(name.lower() for name in allowed)) if host in LOCAL and not keys else ()
