"""What does a server write down? Neither keys, nor questions, nor images, nor answers, whatever goes wrong."""

from __future__ import annotations

import logging
import subprocess
import sys

import httpx
import openai
import pytest
from endpoints import Scripted, chat, failure, serving
from scripted_agent import ANSWER, Failing
from server_client import JSON, URI, messages

from agentic_vision import VisionAgent, visual_tool
from agentic_vision.errors import PolicyError
from agentic_vision.policies.openai import OpenAIPolicy
from agentic_vision.server import ServerSettings, create_app
from agentic_vision.view import View

QUESTION = "Whose salary is this, 5931 a month?"
KEY, UPSTREAM_KEY = "sk-of-a-client-8412", "sk-of-the-operator-7305"
SECRETS = (QUESTION, "5931", KEY, UPSTREAM_KEY, URI[40:80], "base64,", "417")


@visual_tool
def broken(view: View) -> View:  # noqa: ARG001
    """Look."""
    raise RuntimeError("the tool broke")


def send(url: str, key: str = KEY, *, question: str = QUESTION, image: str = URI, stream: bool = False) -> None:
    client = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
    said = messages(question, images=[image])
    try:
        answer = client.chat.completions.create(model="agentic-vision", messages=said, stream=stream)
        list(answer) if stream else None
    except (openai.APIError, httpx.HTTPError):
        pass


@pytest.fixture
def written(caplog, capfd):
    """All that was logged, by our loggers from DEBUG on and by others as they are set, and printed."""
    caplog.set_level(logging.WARNING)
    caplog.set_level(logging.DEBUG, logger="agentic_vision")

    def read() -> str:
        logging.getLogger("agentic_vision.anything").debug("this was heard")
        assert "this was heard" in caplog.text
        return caplog.text + "".join(capfd.readouterr())

    return read


def test_nothing_of_a_question_is_logged(written):
    call = '<tool_call>{"name": "broken", "arguments": {}}</tool_call>'
    script = [chat(call), chat(ANSWER), chat(ANSWER), failure(401, f"no such key: {UPSTREAM_KEY}"), failure(400, "no")]
    endpoint = Scripted([*script, failure(500, "down")])
    with endpoint.serving() as upstream:
        policy = OpenAIPolicy(
            "m", base_url=upstream, api_key=UPSTREAM_KEY, profile={"family": "qwen3-vl", "calls": "text"}, patience=0.0
        )
        app = create_app(VisionAgent(policy, tools=[broken]), ServerSettings(api_keys=(KEY,)))
        with serving(app) as url:
            send(url)  # its tool breaks, then it is answered
            send(url, stream=True)
            for _ in range(3):  # refused in three ways
                send(url)
            send(url, key=KEY + "-not")
            send(url, image="data:image/png;base64,NotAnImage5931")
            send(url, image="http://127.0.0.1/5931.png")
            for body in (b"{", QUESTION.encode(), b'{"messages": "' + QUESTION.encode() + b'"}'):
                httpx.post(f"{url}/chat/completions", content=body, headers={**JSON, "Authorization": f"Bearer {KEY}"})
            metrics = httpx.get(url.replace("/v1", "/metrics")).text
    assert len(endpoint.requests) == 6
    told = written()
    assert [secret for secret in SECRETS if secret in told] == []
    assert "question" in metrics
    assert [secret for secret in SECRETS[:-1] if secret in metrics] == []


def test_a_failure_that_nobody_foresaw_tells_its_place_and_nothing_of_the_question(written):
    for error in (RuntimeError("a defect"), PolicyError("the weights are gone")):
        with serving(create_app(VisionAgent(Failing(error)), ServerSettings(api_keys=(KEY,)))) as url:
            send(url)
            send(url, stream=True)
    told = written()
    assert "a defect" in told  # the operator has to know
    assert [secret for secret in SECRETS if secret in told] == []


def test_settings_can_be_printed():
    settings = ServerSettings(api_keys=(KEY,))
    assert KEY not in f"{settings!r} {settings}"


def test_importing_says_nothing_and_leaves_logging_alone():
    """Its loggers are the application's to set: no handler but the one that does nothing, no levels, no warnings."""
    program = (
        "import logging; import agentic_vision, agentic_vision.cli, agentic_vision.judge, agentic_vision.server.app;"
        "loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)];"
        "ours = [one for one in loggers if one.name.split('.')[0] in ('root', 'agentic_vision')];"
        "heard = [handler for one in ours for handler in one.handlers];"
        "assert len(ours) > 1 and [type(handler) for handler in heard] == [logging.NullHandler], heard;"
        "logging.getLogger('agentic_vision.judge').warning('nobody has asked for a log');"
        "assert all(one.level == logging.NOTSET for one in ours[1:]) and ours[0].level == logging.WARNING"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
