"""An endpoint of a judge over real HTTP, which says what it is told to, and questions to it."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from agentic_vision.judge import Judge

ASKED = ("Which number?", "417", "It is 417")


class Endpoint:
    """Chat Completions that replies with what `replies` gives, see `answer`, the last one again and again."""

    def __init__(self, *replies, seconds=0.0):
        self.replies, self.seconds = list(replies), seconds
        self.requests: list[dict] = []
        self.busy = self.most = 0
        self.lock = threading.Lock()

    def reply(self, request):
        with self.lock:
            self.requests.append(request)
            self.busy += 1
            self.most = max(self.most, self.busy)
            reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        time.sleep(self.seconds)
        with self.lock:
            self.busy -= 1
        return reply


def answer(reply, model) -> tuple[int, bytes]:
    """HTTP status and body for a status to fail with, a body as it is, a text, or a message with its end."""
    if isinstance(reply, bytes):
        return 200, reply
    if isinstance(reply, int):
        return reply, json.dumps({"error": {"message": f"status {reply}"}}).encode()
    said = reply if isinstance(reply, dict) else {"content": reply, "finish_reason": "stop"}
    message = {"role": "assistant", "content": said["content"]}
    choice = {"index": 0, "finish_reason": said["finish_reason"], "message": message}
    content = {"id": "1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    return 200, json.dumps(content).encode()


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = endpoint.reply(request)
            status, body = answer(reply, request["model"])
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(endpoint, *asked, together=1, **settings):
    """The verdicts of `together` equal (or the given) questions asked side by side."""

    async def verdicts(url):
        async with Judge("judge", base_url=url, api_key="none", **settings) as judge:
            return await asyncio.gather(*(judge.verdict(*one) for one in asked or [ASKED] * together))

    with serving(endpoint) as url:
        return asyncio.run(verdicts(url))
