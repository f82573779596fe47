"""URLs for tests: real servers on this machine, with pictures, and a resolver that says what a test has it say."""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from endpoints import serving
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from agentic_vision.errors import ImageError
from agentic_vision.fetch import fetch
from agentic_vision.url_rules import UrlRules

NAME = "images.test"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"  # of a reply, as far as it goes


def png(colour: str = "red", size: tuple[int, int] = (320, 200)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


class Site:
    """Pictures over HTTP. `heard`: the headers of every request, by its path."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, str]]] = []
        self.replies: dict[str, Callable[[Request], Response]] = {}
        self.begin()

    def begin(self) -> None:
        """Forget what was heard, and serve one picture."""
        cookie = {"Set-Cookie": "who=me; Path=/"}
        self.heard.clear()
        self.replies.clear()
        self.replies["/red.png"] = lambda _: Response(png(), media_type="image/png", headers=cookie)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.heard]

    def redirect(self, path: str, to: str) -> None:
        self.replies[path] = lambda _: RedirectResponse(to, 302, headers={"Set-Cookie": "who=me; Path=/"})

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """The address, without a path, while the block runs."""
        with serving(Starlette(routes=[Route("/{path:path}", self._reply)])) as url:
            yield url.removesuffix("/v1")

    async def _reply(self, request: Request) -> Response:
        self.heard.append((request.url.path, dict(request.headers)))
        reply = self.replies.get(request.url.path)
        return reply(request) if reply else Response("nothing here", 404)


class Resolver:
    """Answers in turn with lists of addresses, the last one for ever; `asked` are the names."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers, self.asked = answers, []

    async def __call__(self, host: str, port: int) -> Sequence[str]:  # noqa: ARG002
        self.asked.append(host)
        answer = self._answers[min(len(self.asked), len(self._answers)) - 1]
        if not answer:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answer


@contextlib.contextmanager
def talking(talk: Callable[[socket.socket], None]) -> Iterator[Any]:
    """A server that says what `talk` sends to each connection, good manners or not; `connections` made to it."""
    listening = socket.create_server(("127.0.0.1", 0))
    counted = SimpleNamespace(connections=0, left=0, url=f"http://{NAME}:{listening.getsockname()[1]}/a.png")

    def one(connection: socket.socket) -> None:
        try:
            with connection:
                connection.recv(65536)
                talk(connection)
        except OSError:
            counted.left += 1

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                counted.connections += 1
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield counted
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


@contextlib.contextmanager
def serving_tls(app: Any, certificate: Path, names: list[str | None]) -> Iterator[int]:
    """The port on which an application is served over TLS; `names` are those that clients asked for in handshakes."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="critical", ssl_certfile=certificate, timeout_graceful_shutdown=1
    )
    config.load()
    assert config.ssl is not None

    def named(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        names.append(name)

    config.ssl.sni_callback = named
    server = uvicorn.Server(config)
    listening = config.bind_socket()
    listening.listen()  # whoever calls before the thread is there is heard
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)


def rules(resolve: Resolver | None = None, **changes: Any) -> UrlRules:
    """Those by which the test's host, and nothing else of this machine, may be fetched from."""
    return UrlRules(**{"allow": (NAME,), "resolve": resolve or Resolver(["127.0.0.1"]), **changes})


def refused(url: str, given: UrlRules | None = None) -> str:
    with pytest.raises(ImageError) as error:
        fetch(url, given or rules())
    said = str(error.value)
    assert "\n" not in said
    assert len(said) < 900
    return said
