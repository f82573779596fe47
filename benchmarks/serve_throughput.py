"""Do eight clients at once get more out of the server than one? `python benchmarks/serve_throughput.py`

`agentic-vision serve` on the checkpoint that ships, asked by real `openai` clients in threads: what is in flight at the
same time is decoded in one batch. The goal is 2.5 times one client's questions a second, on 2 cores.
"""

from __future__ import annotations

import base64
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai

from agentic_vision.rows import read_rows
from agentic_vision.training.data.pocket_vqa import write_pocket_vqa

QUESTIONS = 64
CLIENTS = 8
REPEATS = 3


def main() -> None:
    command = [sys.executable, "-m", "agentic_vision", "serve", "--port", "0"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server,
    ):
        try:
            assert server.stderr is not None
            said = server.stderr.readline()
            address = re.search(r"http://\S+/v1", said)
            assert address is not None, said
            write_pocket_vqa(Path(folder), QUESTIONS, 5, "heldout")
            requests = [_messages(Path(row.images[0]), row.question) for row in read_rows(Path(folder))]
            client = openai.OpenAI(base_url=address.group(), api_key="none", max_retries=0)

            def ask(messages: list[dict[str, object]]) -> str | None:
                done = client.chat.completions.create(model="agentic-vision", messages=messages)  # type: ignore[arg-type]
                return done.choices[0].message.content

            def rate(clients: int) -> float:
                started = time.perf_counter()
                with ThreadPoolExecutor(clients) as pool:
                    answers = list(pool.map(ask, requests))
                assert all(answers)
                return len(requests) / (time.perf_counter() - started)

            rate(CLIENTS)  # warm
            rates = [(rate(1), rate(CLIENTS)) for _ in range(REPEATS)]
        finally:
            server.terminate()
    print(
        json.dumps(
            {
                "one_client_per_s": round(statistics.median(one for one, _ in rates), 2),
                "eight_clients_per_s": round(statistics.median(many for _, many in rates), 2),
                "ratio": round(statistics.median(many / one for one, many in rates), 2),
            }
        )
    )


def _messages(image: Path, question: str) -> list[dict[str, object]]:
    uri = f"data:image/png;base64,{base64.b64encode(image.read_bytes()).decode()}"
    return [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": question}],
        }
    ]


if __name__ == "__main__":
    main()
