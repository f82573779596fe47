"""An OpenAI-compatible endpoint that answers at once, in a process of its own: a tool call, and then the answer.

`python endpoint.py NAME ARGUMENTS` prints its address. It calls the tool NAME with the JSON ARGUMENTS until it has
called once, natively where the request lists tools and as `<tool_call>` text elsewhere, streamed where that is asked
for; and it counts what it is sent (`GET /tally`), visual tokens as Qwen3-VL does.
"""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

from agentic_vision import family

ANSWER = "<think>I see it.</think><answer>7</answer>"


@dataclass(frozen=True)
class Endpoint:
    """A running one; `url` is that of its /v1."""

    url: str

    def tally(self) -> dict[str, int]:
        """What it was sent since it was started: requests, bytes (of bodies), images, visual tokens."""
        with urllib.request.urlopen(f"{self.url.removesuffix('/v1')}/tally") as answer:
            tally: dict[str, int] = json.load(answer)
        return tally


@contextmanager
def endpoint(name: str, arguments: dict[str, Any]) -> Iterator[Endpoint]:
    """One that calls the tool `name`, while the block runs."""
    command = [sys.executable, __file__, name, json.dumps(arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Endpoint(process.stdout.readline().strip())
        finally:
            process.terminate()


def called(name: str, arguments: str, native: bool) -> dict[str, Any]:
    """The assistant's message with the tool call."""
    if native:
        function = {"name": name, "arguments": arguments}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    text = f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'
    return {"role": "assistant", "content": text}


def serve(name: str, arguments: str) -> None:
    tally = {"requests": 0, "bytes": 0, "images": 0, "visual tokens": 0}
    tokens = family("qwen3-vl").tokens

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body leave together: else Nagle's algorithm would wait between them

        def do_GET(self) -> None:
            self._send(json.dumps(tally).encode(), "application/json")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            tally["requests"] += 1
            tally["bytes"] += len(body)
            for data in re.findall(rb"data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)", body):
                tally["images"] += 1
                with Image.open(io.BytesIO(base64.b64decode(data))) as image:
                    tally["visual tokens"] += tokens(image.size)
            request = json.loads(body)
            said = any(message["role"] == "assistant" for message in request["messages"])
            native = bool(request.get("tools"))
            message = {"role": "assistant", "content": ANSWER} if said else called(name, arguments, native)
            reason = "tool_calls" if native and not said else "stop"
            whole: dict[str, Any] = {"id": "c", "created": 0, "model": "m"}
            if request.get("stream"):
                whole["object"] = "chat.completion.chunk"
                whole["choices"] = [{"index": 0, "delta": message, "finish_reason": reason}]
                self._send(f"data: {json.dumps(whole)}\n\ndata: [DONE]\n\n".encode(), "text/event-stream")
                return
            whole["object"] = "chat.completion"
            whole["choices"] = [{"index": 0, "message": message, "finish_reason": reason}]
            whole["usage"] = {"prompt_tokens": 0, "completion_tokens": 9, "total_tokens": 9}
            self._send(json.dumps(whole).encode(), "application/json")

        def _send(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
