"""The server says what it takes and what it replies, at /openapi.json."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from endpoints import serving
from fastapi.testclient import TestClient

from agentic_vision import VisionAgent
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.server import ServerSettings, create_app


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


CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method"
)


@pytest.mark.parametrize(
    ("raw", "where"),
    [(False, ["--phases", "coverage,fuzzing"]), (True, ["--phases", "fuzzing", "--include-method", "POST"])],
    ids=["agent", "raw"],
)
def test_schemathesis_finds_no_reply_that_the_schema_does_not_tell(raw: bool, where: list[str], tmp_path: Path) -> None:
    agent = VisionAgent(ScriptedPolicy(["<answer>1</answer>"] * 10_000, family="pocket"))
    with serving(create_app(agent, ServerSettings(raw=raw))) as url:
        schema = url.replace("/v1", "/openapi.json")
        command = [sys.executable, "-m", "schemathesis.cli", "run", schema, "--checks", CHECKS, "--no-color"]
        command += [*where, "--max-examples", "25", "--generation-deterministic"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert re.search(r"[1-9]\d+ generated", done.stdout), done.stdout
