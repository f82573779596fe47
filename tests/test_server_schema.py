"""The server says what it takes and what it replies, at /openapi.json."""

from __future__ import annotations

from fastapi.testclient import TestClient

from agentic_vision import VisionAgent
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.server.app import create_app


def test_the_schema_holds_the_request_and_every_reply():
    with TestClient(create_app(VisionAgent(ScriptedPolicy(["<answer>1</answer>"], family="pocket")))) as client:
        schema = client.get("/openapi.json").json()
        assert client.get("/docs").status_code == 404
    chat = schema["paths"]["/v1/chat/completions"]["post"]
    assert chat["requestBody"]["content"]["application/json"]["schema"]["$ref"] == "#/components/schemas/ChatRequest"
    assert {"200", "400", "401", "413", "429", "502", "504"} <= set(chat["responses"])
    known = schema["components"]["schemas"]
    assert "messages" in known["ChatRequest"]["required"]
    referred = set(_referred(schema))
    assert referred
    assert all(name.removeprefix("#/components/schemas/") in known for name in referred)


def _referred(value):
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else [])
        for part in value.values():
            yield from _referred(part)
    elif isinstance(value, list):
        for part in value:
            yield from _referred(part)
