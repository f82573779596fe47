"""The command that starts the agent's server, in a real process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from server_client import ask, messages, until
from typer.testing import CliRunner

from agentic_vision.cli import app


def test_the_command_serves_and_drains_on_sigterm():
    command = [sys.executable, "-m", "agentic_vision", "serve", "--port", "0", "--model", "mine", "--allow-urls"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"})
    try:
        said = server.stderr.readline()
        address = re.search(r"http://\S+/v1", said)
        assert address, said
        url = address.group()
        until(lambda: _answers(url))
        with pytest.raises(openai.BadRequestError, match="has no public address"):
            ask(url, said=messages(images=["http://127.0.0.1/a.png"]))
        with ThreadPoolExecutor(4) as clients:
            asked = [clients.submit(ask, url) for _ in range(4)]
            until(lambda: _begun(url) == 4)
            server.send_signal(signal.SIGTERM)
            assert {done.result().choices[0].message.content for done in asked} == {"25.15"}
        assert server.wait(30) in (0, -signal.SIGTERM)
    finally:
        server.kill()
        server.wait()
        server.stderr.close()


def _begun(url):
    """Questions that the server has taken in, those that it has answered among them."""
    now = httpx.get(url.replace("/v1", "/healthz")).json()
    counted = httpx.get(url.replace("/v1", "/metrics")).text
    done = sum(float(line.split()[-1]) for line in re.findall(r"^agentic_vision_questions_total.*$", counted, re.M))
    return now["running"] + now["waiting"] + done


def _answers(url):
    try:
        return httpx.get(f"{url}/models").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("given", ["", " "])
def test_a_variable_without_keys_does_not_open_the_server(given):
    told = CliRunner().invoke(app, ["serve", "--port", "1"], env={"AGENTIC_VISION_API_KEYS": given})
    assert told.exit_code == 2
    assert "AGENTIC_VISION_API_KEYS is set and holds no key" in told.stderr


def test_the_command_says_what_is_wrong():
    for options, told in (
        (["--policy", "m", "--base-url", "http://x/v1", "--port", "1"], "OPENAI_API_KEY"),
        (["--base-url", "http://x/v1"], "name its model"),
    ):
        env = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
        command = [sys.executable, "-m", "agentic_vision", "serve", *options]
        done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr
