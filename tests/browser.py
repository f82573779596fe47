"""A real browser for the tests of pages: what Chromium makes of a file, and a page that a test clicks on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: a browser that runs what a page holds")


def opened(path: Path, profile: Path, *options: str) -> str:
    """The page as Chromium has it, when its scripts (if any) have run."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            f"--user-data-dir={profile}",
            "--virtual-time-budget=1000",
            *options,
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        timeout=60,
        check=True,
    )
    return done.stdout.decode("utf-8", "replace")


class Page:
    """A page of a running Chromium, which a test clicks and types on: the DevTools protocol, over two pipes.

    `requested` are the addresses of all that it has asked for, `complaints` what its console and its policy said.
    """

    def __init__(self, commands: IO[bytes], replies: IO[bytes]) -> None:
        self._commands, self._replies = commands, replies
        self._sent, self._session = 0, ""
        self.requested: list[str] = []
        self.complaints: list[str] = []

    def open(self, url: str) -> None:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Network", "Log", "Runtime", "Page"):
            self._call(f"{domain}.enable")
        self._call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """What the script gives; promises are waited for. Raises AssertionError for what it throws."""
        done = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, condition: str, seconds: float = 20.0) -> None:
        """Waits until the script's condition holds."""
        started = time.monotonic()
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() - started < seconds, self.run("document.body.innerText")
            time.sleep(0.02)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._sent += 1
        sent = {"id": self._sent, "method": method, "params": params}
        if self._session:
            sent["sessionId"] = self._session
        self._commands.write(json.dumps(sent).encode() + b"\0")
        self._commands.flush()
        while True:
            said = json.loads(self._message())
            if said.get("id") == self._sent:
                assert "error" not in said, said
                return said["result"]
            self._hear(said.get("method"), said.get("params", {}))

    def _hear(self, method: str | None, said: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requested.append(said["request"]["url"])
        elif method in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.complaints.append(json.dumps(said))

    def _message(self) -> bytes:
        message = bytearray()
        while (byte := self._replies.read(1)) != b"\0":
            assert byte, "Chromium has ended"
            message += byte
        return bytes(message)


@contextmanager
def driven(profile: Path) -> Iterator[Page]:
    """A Chromium of its own, with a page to be opened."""
    assert CHROMIUM is not None
    # It reads commands from its descriptor 3 and writes replies to 4, whatever they are called here.
    (reads, commands), (replies, writes) = os.pipe(), os.pipe()
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --remote-debugging-pipe"
    launch = f'exec "$0" {flags} --user-data-dir="$1" 3<&{reads} 4>&{writes}'
    browser = subprocess.Popen(
        ["bash", "-c", launch, CHROMIUM, str(profile)], pass_fds=(reads, writes), stderr=subprocess.DEVNULL
    )
    os.close(reads)
    os.close(writes)
    try:
        with os.fdopen(commands, "wb") as to, os.fdopen(replies, "rb") as back:
            yield Page(to, back)
    finally:
        browser.kill()
        browser.wait()
