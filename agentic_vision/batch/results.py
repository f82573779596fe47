"""The files of a round: requests that go out, 50,000 and 200 MB to a file at most, and results that come back.

A line of requests is `{"custom_id", "method": "POST", "url": "/v1/chat/completions", "body"}`; a line of results is
`{"custom_id", "response": {"status_code", "body"}, "error"}`, in any order, in output and error files alike
(https://platform.openai.com/docs/guides/batch).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ..errors import ConfigError

MOST_REQUESTS, MOST_BYTES = 50_000, 200 * 10**6
REQUESTS = "requests-*.jsonl"


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
            self._file = (self._folder / REQUESTS.replace("*", f"{self._files:03}")).open("wb")
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

    `asked` counts the requests of the last round, `missing` those without a result.
    """

    def __init__(self, rounds: list[Path]) -> None:
        self._places: dict[str, list[tuple[Path, int]]] = {}
        self.asked = self.missing = 0
        for folder in rounds:
            asked = {key for path in sorted(folder.glob(REQUESTS)) for key, _ in _lines(path)}
            came: set[str] = set()
            for path in sorted(set(folder.glob("*.jsonl")) - set(folder.glob(REQUESTS))):
                for key, start in _lines(path):
                    if key in asked and key not in came:  # a file that was put there twice counts once
                        came.add(key)
                        self._places.setdefault(key, []).append((path, start))
            self.asked, self.missing = len(asked), len(asked - came)

    def of(self, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """The results of a request, round by round: HTTP status, and the completion or the error."""
        for path, start in self._places.get(key, ()):
            with path.open("rb") as file:
                file.seek(start)
                said = json.loads(file.readline())
            response = said.get("response") or {}
            body = response.get("body")
            body = body if isinstance(body, dict) else {"message": str(body)}
            if said.get("error"):  # it never came to the model: the batch expired, or was cancelled
                yield response.get("status_code") or 503, _error(said)
            elif response.get("status_code", 200) == 200:
                yield 200, body
            else:
                yield response["status_code"], _error(body)


def _error(said: dict[str, Any]) -> dict[str, Any]:
    """`{"message", "code"}`, however deep it is wrapped."""
    while isinstance(said.get("error"), dict):
        said = said["error"]
    return said if "message" in said else {"message": str(said.get("error", said))}


def _lines(path: Path) -> Iterator[tuple[str, int]]:
    start = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    key = json.loads(line)["custom_id"]
                except (ValueError, KeyError, TypeError) as error:
                    raise ConfigError(
                        f"{path}, line {number}, is no line of the Batch API: fetch the file again, whole"
                    ) from error
                yield str(key), start
            start += len(line)
