"""The agent as an OpenAI-compatible endpoint: the real `openai` client against the real server, over HTTP."""

from __future__ import annotations

import re

import httpx
import openai
import pytest
from endpoint_agent import RECEIPT
from endpoints import Scripted, chat, serving
from scripted_agent import ANSWER, FULL, Failing
from server_client import JSON, URI, ask, client, messages

from agentic_vision import ConfigError, PolicyError, VisionAgent
from agentic_vision.errors import MisconfiguredError, RefusedError
from agentic_vision.messages import Trajectory
from agentic_vision.policies.openai import OpenAIPolicy
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.protocol import write
from agentic_vision.server import ServerSettings, create_app


@pytest.fixture(scope="module")
def url(embedded):
    with serving(create_app(embedded)) as address:
        yield address


def test_a_client_gets_the_agents_answer_and_what_it_saved(url, embedded):
    here = embedded.ask(RECEIPT, "What is the total?")
    done = ask(url)
    (choice,) = done.choices
    assert (choice.message.content, choice.finish_reason) == (here.answer, "stop")
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (
        here.usage.input_tokens,
        here.usage.output_tokens,
    )
    told = done.usage.model_extra
    assert told["visual_tokens"] == here.usage.visual_tokens
    assert told["full_resolution_visual_tokens"] == here.usage.full_resolution_tokens
    assert told["visual_tokens_saved"] == pytest.approx(here.usage.saved)
    assert set(done.model_extra["agentic_vision"]) == {"stop_reason", "detail"}


def test_the_trajectory_comes_on_request(url):
    done = ask(url, extra_body={"agentic_vision": {"trajectory": True}})
    trajectory = Trajectory.model_validate(done.model_extra["agentic_vision"]["trajectory"])
    assert trajectory.answer == "25.15"
    assert [image.size for image in trajectory.replay([URI])] == [view.size for view in trajectory.views]


def test_a_stream_tells_thoughts_and_calls_as_reasoning_and_then_the_answer(url):
    chunks = list(ask(url, stream=True, stream_options={"include_usage": True}))
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    reasoning = "".join((delta.model_extra or {}).get("reasoning_content", "") for delta in deltas)
    assert reasoning.startswith("Too small to read.\n[zoom_crop bbox_2d=[")
    assert "".join(delta.content or "" for delta in deltas) == "25.15"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.model_extra["visual_tokens"] == 50
    assert len(chunks) > 8  # it comes while it is said, not at the end


def test_what_was_said_before_is_part_of_the_question():
    policy = ScriptedPolicy([ANSWER])
    seen = []
    policy._script = lambda conversation: seen.append(conversation.messages[-1].text) or ANSWER
    before = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
    ]
    with serving(create_app(VisionAgent(policy))) as url:
        ask(url, said=messages(before=before))
    assert seen == [
        "Be brief.\n\nThe conversation so far:\n\nUser: Hello\n\nAssistant: Hi.\n\nNow:\n\nWhat is the total?"
    ]


SHOWN = messages("")[-1]  # an image without a word
ASKED = {"role": "user", "content": "Which number?"}
SYSTEM = {"role": "system", "content": "Read the number."}
TALK = "The conversation so far:\n\nUser: Which number?\n\nAssistant: 1\n\nNow:\n\n"


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ([SYSTEM, SHOWN], "Read the number."),
        ([ASKED, SHOWN], "Which number?"),
        ([SYSTEM, ASKED, {"role": "assistant", "content": "1"}, SHOWN], f"{TALK}Read the number."),
        ([ASKED, {"role": "assistant", "content": "1"}, SHOWN], None),
    ],
)
def test_an_image_without_words_asks_no_old_question(said, asked):
    seen = []
    policy = ScriptedPolicy(lambda conversation: seen.append(conversation.messages[-1].text) or ANSWER)
    with serving(create_app(VisionAgent(policy))) as url:
        if asked is None:
            with pytest.raises(openai.BadRequestError, match="the question is empty"):
                ask(url, said=said)
        else:
            ask(url, said=said)
            assert seen == [asked]


def test_a_field_of_ours_that_is_none_is_told_of_even_as_null(url):
    told = httpx.post(f"{url}/chat/completions", json={"messages": messages(), "agentic_vision": {"trajectry": None}})
    assert (told.status_code, "trajectry" in told.text) == (400, True)


def test_null_is_what_was_not_said(url):
    nulls = {"stream": None, "seed": None, "n": None, "tools": None, "tool_choice": None, "agentic_vision": None}
    body = {"model": None, "messages": messages(), **nulls, "stream_options": {"include_usage": None}}
    told = httpx.post(f"{url}/chat/completions", json=body, timeout=60)
    assert told.status_code == 200, told.text


def test_without_an_image_the_policy_answers_by_itself():
    with serving(create_app(VisionAgent(ScriptedPolicy(["Hello!"])))) as url:
        done = ask(url, said=[{"role": "user", "content": "Hello"}])
    assert done.choices[0].message.content == "Hello!"


@pytest.mark.parametrize("stream", [False, True])
def test_of_a_reply_without_an_image_a_client_gets_the_answer_alone(stream):
    with serving(create_app(VisionAgent(ScriptedPolicy([write(thought="Clear enough.", answer="42")])))) as url:
        done = ask(url, said=[{"role": "user", "content": "How many?"}], stream=stream)
        if stream:
            said = "".join(chunk.choices[0].delta.content or "" for chunk in done if chunk.choices)
        else:
            said = done.choices[0].message.content
    assert said == "42"


def test_models_are_listed(url):
    assert [model.id for model in client(url).models.list()] == ["agentic-vision"]
    assert client(url).models.retrieve("agentic-vision").owned_by == "agentic-vision"
    with pytest.raises(openai.NotFoundError, match="no model 'gpt'"):
        client(url).models.retrieve("gpt")


# Another server behind it


def test_it_stands_in_front_of_an_upstream_endpoint():
    upstream = Scripted([chat(FULL), chat(ANSWER)])
    with upstream.serving() as behind:
        policy = OpenAIPolicy("m", base_url=behind, api_key="k", profile={"family": "qwen3-vl", "calls": "text"})
        with serving(create_app(VisionAgent(policy))) as url:
            done = ask(url)
    assert done.choices[0].message.content == "417"
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (PolicyError("the endpoint is down"), 502, "upstream_failed"),
        (MisconfiguredError("a wrong key"), 502, "upstream_misconfigured"),
    ],
)
def test_a_policy_that_fails_is_a_bad_gateway(error, status, code):
    with serving(create_app(VisionAgent(Failing(error)))) as url:
        with pytest.raises(openai.APIStatusError, match=str(error)) as raised:
            ask(url)
        assert (raised.value.status_code, raised.value.code) == (status, code)
        with pytest.raises(openai.APIError, match=str(error)):
            list(ask(url, stream=True))


def test_a_refusal_and_no_answer_are_told_by_the_finish_reason():
    with serving(create_app(VisionAgent(Failing(RefusedError("no"))))) as url:
        assert ask(url).choices[0].finish_reason == "content_filter"
    with serving(create_app(VisionAgent(ScriptedPolicy([FULL]), max_turns=1))) as url:
        done = ask(url)
    assert (done.choices[0].finish_reason, done.choices[0].message.content) == ("length", "")
    assert done.model_extra["agentic_vision"]["stop_reason"] == "turn_limit"


@pytest.mark.parametrize("raw", [False, True])
def test_a_defect_is_an_error_of_openais_and_is_counted_and_logged(raw, caplog):
    policy = Failing(RuntimeError("a defect of theirs"))
    with serving(create_app(VisionAgent(policy), ServerSettings(raw=raw))) as url:
        with pytest.raises(openai.InternalServerError, match="its log says more") as raised:
            ask(url)
        assert raised.value.code == "internal_error"
        begun = []
        with pytest.raises(openai.APIError, match="its log says more"):
            begun.extend(ask(url, stream=True))
        counted = httpx.get(url.replace("/v1", "/metrics")).text
    assert 'agentic_vision_requests_total{status="500"} 1.0' in counted
    assert caplog.text.count("RuntimeError: a defect of theirs") == 2


def test_the_bare_policys_failures_are_told_as_the_agents():
    with serving(create_app(VisionAgent(Failing(MisconfiguredError("a wrong key"))), ServerSettings(raw=True))) as url:
        with pytest.raises(openai.APIStatusError) as raised:
            ask(url)
        assert (raised.value.status_code, raised.value.code) == (502, "upstream_misconfigured")
    with serving(create_app(VisionAgent(Failing(RefusedError("not this"))), ServerSettings(raw=True))) as url:
        (choice,) = ask(url).choices
        assert (choice.finish_reason, choice.message.content, choice.message.refusal) == (
            "content_filter",
            "",
            "not this",
        )
        chunks = [chunk.choices[0] for chunk in ask(url, stream=True)]
        assert [chunk.delta.refusal for chunk in chunks if chunk.delta.refusal] == ["not this"]
        assert chunks[-1].finish_reason == "content_filter"


# Bad requests


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (messages(images=["https://example.com/a.png"]), "have the server started with --allow-urls"),
        (messages(images=["file:///etc/passwd"]), "no data: URI"),
        (messages(images=["/etc/passwd"]), "no data: URI"),
        (messages(images=["data:image/png;base64,AAAA"]), "not an image"),
        (messages(images=["data:image/png;base64,?"]), "not valid base64"),
        (messages(""), "the question is empty"),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], "input_audio"),
        ([{"role": "king", "content": "Hello"}], "messages.0.role"),
        ([], "messages"),
        (messages(images=[URI] * 65), "more than 64"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_bad_request_says_what_is_wrong(url, said, told, stream):
    with pytest.raises(openai.BadRequestError, match=re.escape(told)):
        client(url).chat.completions.create(model="m", messages=said, stream=stream)


def test_what_cannot_be_served_is_refused(url):
    tool = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    with pytest.raises(openai.BadRequestError, match="--raw"):
        ask(url, tools=[tool])
    with pytest.raises(openai.BadRequestError, match=r"agentic_vision\.more"):
        ask(url, extra_body={"agentic_vision": {"more": 1}})
    assert (
        httpx.post(f"{url}/chat/completions", content=b"{", headers=JSON).json()["error"]["type"]
        == "invalid_request_error"
    )
    assert httpx.get(f"{url}/nonsense").json()["error"]["message"] == "Not Found"


def test_a_request_beyond_the_size_limit_is_refused(embedded):
    with serving(create_app(embedded, ServerSettings(max_bytes=10_000))) as url:
        with pytest.raises(openai.APIStatusError) as raised:
            ask(url, said=messages("a" * 20_000))
        assert raised.value.status_code == 413
        assert raised.value.type == "invalid_request_error"
        pieces = (b"x" * 1000 for _ in range(20))  # which do not say how many they are
        assert httpx.post(f"{url}/chat/completions", content=pieces, headers=JSON).json()["error"]["message"]
        counted = httpx.get(url.replace("/v1", "/metrics")).text
        assert 'agentic_vision_requests_total{status="413"} 2.0' in counted


def test_only_those_with_a_key_are_served(embedded):
    with serving(create_app(embedded, ServerSettings(api_keys=("k", "other")))) as url:
        assert ask(url).choices[0].message.content == "25.15"
        stranger = openai.OpenAI(base_url=url, api_key="K", max_retries=0)
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        with pytest.raises(openai.AuthenticationError):
            stranger.chat.completions.create(model="m", messages=messages())
        assert httpx.get(f"{url}/models/guessed").status_code == 401  # and does not learn which models there are
        assert httpx.get(url.replace("/v1", "/healthz")).json()["status"] == "ok"


def test_impossible_settings_are_refused():
    for wrong in ({"in_flight": 0}, {"queue": -1}, {"deadline": 0}, {"max_bytes": 0}):
        with pytest.raises(ConfigError):
            ServerSettings(**wrong)
