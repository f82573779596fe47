"""The files of a round: requests that go out, 50,000 and 200 MB to a file at most, and results that come back.

A line of requests is `{"custom_id", "method": "POST", "url": "/v1/chat/completions", "body"}`; a line of results is
`{"custom_id", "response": {"status_code", "body"}, "error"}`, in any order, in output and error files alike
(https://platform.openai.com/docs/guides/batch). Whatever else ends in .jsonl beside the requests is read as results.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ..errors import ConfigError

MOST_REQUESTS, MOST_BYTES = 50_000, 200 * 10**6
_REQUESTS = re.compile(r"requests-\d{3,}\.jsonl")  # a file of results may be called requests-001-output.jsonl

_ASKED = re.compile(rb'\s*\{\s*"custom_id":\s*"([^"\\]+)"')


def request_files(folder: Path) -> list[Path]:
    """The files of requests in the folder of a round, in order."""
    return sorted(path for path in folder.iterdir() if _REQUESTS.fullmatch(path.name))


class RequestFiles:
    """Writes the requests of a round into `folder`."""

    def __init__(self, folder: Path, *, most_requests: int = MOST_REQUESTS, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._most_requests, self._most_bytes = folder, most_requests, most_bytes
        self._file: IO[bytes] | None = None
        self._files = self._here = self._bytes = 0
        self.requests = 0

    def write(self, key: str, body: dict[str, Any]) -> bool:
        """Add a request; False where it alone is larger than a file may be."""
        asked = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        line = json.dumps(asked).encode() + b"\n"
        if len(line) > self._most_bytes:
            return False
        if self._file is None or self._here == self._most_requests or self._bytes + len(line) > self._most_bytes:
            self.close()
            self._files += 1
            self._file = (self._folder / f"requests-{self._files:03}.jsonl").open("wb")
            self._here = self._bytes = 0
        self._file.write(line)
        self._here += 1
        self._bytes += len(line)
        self.requests += 1
        return True

    def close(self) -> None:
        """The file at hand is whole."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Results:
    """Where on disk every result of the rounds so far stands.

    Of several results of one request in a round the newest success counts; without one, the newest error. `asked`
    counts the requests of the last round, `missing` those without a result.
    """

    def __init__(self, rounds: list[Path]) -> None:
        self._places: dict[str, list[tuple[Path, int]]] = {}
        self.asked = self.missing = 0
        for folder in rounds:
            requests = request_files(folder)
            asked = {key for path in requests for key in _asked(path)}
            came: dict[str, tuple[Path, int]] = {}
            succeeded: set[str] = set()
            for path in sorted(set(folder.glob("*.jsonl")) - set(requests), key=_age):
                for said, start in _lines(path):
                    key = str(said["custom_id"])
                    success = _succeeded(said)
                    if key in asked and (success or key not in succeeded):
                        came[key] = path, start
                        if success:
                            succeeded.add(key)
            for key, place in came.items():
                self._places.setdefault(key, []).append(place)
            self.asked, self.missing = len(asked), len(asked) - len(came)

    def of(self, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """The results of a request, round by round: HTTP status, and the completion or the error."""
        for path, start in self._places.get(key, ()):
            with path.open("rb") as file:
                file.seek(start)
                said = json.loads(file.readline())
            response = _response(said)
            body = response.get("body")
            body = body if isinstance(body, dict) else {"message": str(body)}
            if said.get("error"):  # it never came to the model: the batch expired, or was cancelled
                yield response.get("status_code") or 503, _error(said)
            elif _succeeded(said):
                yield 200, body
            else:
                yield response["status_code"], _error(body)


def _error(said: dict[str, Any]) -> dict[str, Any]:
    """`{"message", "code"}`, however deep it is wrapped."""
    while isinstance(said.get("error"), dict):
        said = said["error"]
    return said if "message" in said else {"message": str(said.get("error", said))}


def _succeeded(said: dict[str, Any]) -> bool:
    return not said.get("error") and _response(said).get("status_code", 200) == 200


def _response(said: dict[str, Any]) -> dict[str, Any]:
    response = said.get("response")
    return response if isinstance(response, dict) else {}


def _age(path: Path) -> tuple[int, str]:
    """Oldest first; by name where they came together."""
    return path.stat().st_mtime_ns, path.name


def _asked(path: Path) -> Iterator[str]:
    """The ids of the requests in a file, read off the beginnings of its lines: behind them are all the images."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            found = _ASKED.match(line)
            if found is None and line.strip():
                raise ConfigError(f"{path}, line {number}, is no request of ours: put files of results beside it")
            if found:
                yield found[1].decode()


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """What is said in every line, and the byte at which it begins."""
    start = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    said = json.loads(line)
                    said["custom_id"]
                except (ValueError, KeyError, TypeError) as error:
                    raise ConfigError(
                        f"{path}, line {number}, is no line of the Batch API: fetch the file again, whole"
                    ) from error
                yield said, start
            start += len(line)
