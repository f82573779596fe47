"""lmms-eval runs the agent on its tasks: the score is the one we would give, and what went wrong is no answer.

Needs the extra `lmms-eval`, which gets an environment of its own (docs/lmms_eval.md says the commands).
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from endpoints import Scripted, chat, failure
from PIL import Image
from starlette.responses import JSONResponse, Response
from typer.testing import CliRunner

from agentic_vision.cli import app
from agentic_vision.errors import ConfigError, MisconfiguredError
from agentic_vision.evaluation import evaluate
from agentic_vision.policies.embedded import EmbeddedPolicy
from agentic_vision.protocol import write
from agentic_vision.rows import read_rows

pytest.importorskip(
    "lmms_eval.models",
    reason="needs the extra, in an environment of its own: docs/lmms_eval.md",
    exc_type=ModuleNotFoundError,
)

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.models import get_model
from lmms_eval.models.model_utils import gen_metrics, usage_metrics
from loguru import logger

TASK = Path(__file__).parent.parent / "examples" / "lmms_eval_task"
TOOLS = ("zoom_crop", "full_res")


def test_the_score_is_our_own_evaluations(tmp_path: Path) -> None:
    wanted = ["data", "pocket", str(tmp_path / "pocket"), "--n", "24", "--seed", "1", "--split", "heldout"]
    assert CliRunner().invoke(app, wanted).exit_code == 0
    ours = evaluate(
        read_rows(tmp_path / "pocket"), EmbeddedPolicy.load(), ["agent"], tmp_path / "ours", tools=TOOLS, seed=0
    ).strategies["agent"]
    assert ours.accuracy is not None
    assert 0.5 < ours.accuracy < 1  # a score that could come about in no other way

    command = ["--model", "agentic_vision", "--model_args", f"tools={'+'.join(TOOLS)},max_turns=4,seed=0"]
    command += ["--tasks", "pocket_vqa", "--include_path", str(TASK), "--batch_size", "8"]
    command += ["--output_path", "theirs", "--log_samples"]
    done = subprocess.run(
        [sys.executable, "-m", "agentic_vision.lmms_eval", *command],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "theirs").rglob("*_results.json")
    theirs = json.loads(file.read_text())
    assert theirs["results"]["pocket_vqa"]["accuracy,none"] == pytest.approx(ours.accuracy)
    assert theirs["n-samples"]["pocket_vqa"]["effective"] == 24

    cost = theirs["throughput"]
    assert cost["avg_visual_tokens"] / cost["avg_full_resolution_tokens"] == pytest.approx(ours.visual_tokens_ratio)
    assert (cost["avg_failed"], cost["avg_no_answer"]) == (0, ours.no_answer)
    assert theirs["usage"]["by_task"]["pocket_vqa"]["n_api_calls"] == pytest.approx(24 * (ours.turns or 0))
    (file,) = (tmp_path / "theirs").rglob("*_samples_pocket_vqa.jsonl")
    samples = [json.loads(line) for line in file.read_text().splitlines()]
    spent = sum(sample["token_counts"][0]["input_tokens"] for sample in samples)
    assert spent == theirs["usage"]["total"]["input_tokens"] > 0


# What is asked, and what is made of the answer


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What lmms-eval's log says."""
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), format="{level} {message}")
    gen_metrics.reset_logged_metrics()
    usage_metrics.reset_usage_metrics()
    yield lines
    usage_metrics.reset_usage_metrics()
    logger.remove(sink)


def answer(text: str) -> Any:
    return chat(write(thought="I see it.", answer=text))


def run(
    script: list[Any] | Callable[[Any], Any],
    contexts: Sequence[str],
    *,
    until: Any = None,
    images: int = 1,
    model_args: str = "",
    batch_size: str = "1",
) -> tuple[list[GenerationResult], Scripted]:
    """The outputs of the model, made as lmms-eval makes it, in front of an endpoint that plays `script`."""
    endpoint = Scripted(script if isinstance(script, list) else [script])
    pictures = [Image.new("RGB", (320 * (number + 1), 320)) for number in range(images)]
    requests = [
        Instance(
            "generate_until",
            (context, {"until": until, "max_new_tokens": 16}, lambda doc: doc["images"], number, "task", "test"),
            0,
            {"task": "task", "doc_id": number, "repeats": 1},
        )
        for number, context in enumerate(contexts)
    ]
    with endpoint.serving() as url:
        model: Any = get_model("agentic_vision").create_from_arg_string(
            f"policy=m,base_url={url},api_key=k{model_args}", {"batch_size": batch_size, "device": None}
        )
        model.task_dict["task"] = {"test": [{"images": pictures}] * len(contexts)}
        return model.generate_until(requests), endpoint


def test_the_agent_is_asked_the_tasks_text_about_its_images_in_their_order(said: list[str]) -> None:
    (output,), endpoint = run([answer("417")], ["Which is wider?"], images=2, model_args=",glance=1.0,temperature=0")
    assert output.text == "417"
    (request,) = endpoint.requests
    (message,) = (message for message in request["messages"] if message["role"] == "user")
    urls = [part["image_url"]["url"] for part in message["content"] if part["type"] == "image_url"]
    first, second = (Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size for url in urls)
    assert second[0] > first[0]
    assert "Which is wider?" in "".join(part.get("text", "") for part in message["content"])
    assert request["temperature"] == 0
    assert "zoom_crop" in request["messages"][0]["content"]
    assert not any(line.startswith(("ERROR", "WARNING")) for line in said)


@pytest.mark.usefixtures("said")
def test_as_many_questions_are_under_way_as_the_batch_size_says() -> None:
    all_here = asyncio.Barrier(3)

    async def together(request: Any) -> Response:
        await asyncio.wait_for(all_here.wait(), 30)
        number = next(word for word in ("one", "two", "three") if word in json.dumps(request["messages"][-1]))
        return JSONResponse(answer(number))

    outputs, _ = run(together, ["one", "two", "three"], batch_size="3")
    assert [output.text for output in outputs] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("until", "text"), [("END", "two\n\nlines "), (["\n\n", "lines"], "two"), (["\n\n"], "two\n\nlines END it")]
)
def test_an_answer_ends_where_the_task_says_but_not_at_a_blank_line(until: Any, text: str) -> None:
    (output,), _ = run([answer("two\n\nlines END it")], ["Which?"], until=until)
    assert output.text.strip() == text.strip()


# What goes wrong


def by_question(request: Any) -> Any:
    asked = json.dumps(request)
    refusal = chat(None, finish="content_filter")
    return failure(400) if "fails" in asked else refusal if "refused" in asked else answer("red")


def test_a_question_that_fails_is_no_answer_and_ends_nothing(said: list[str]) -> None:
    outputs, _ = run(by_question, ["one that fails", "a refused one", "a good one"])
    assert [output.text for output in outputs] == ["", "", "red"]
    assert [output.token_counts is None for output in outputs] == [True, False, False]
    assert any(
        line.startswith("ERROR Failed, with nothing to score: task, question 0: policy_failed:") for line in said
    )
    assert any(line.startswith("WARNING No answer: task, question 1: refused: the model refused") for line in said)
    assert any("1 of 3 questions have nothing to score (1 failed, 0 not asked)" in line for line in said)
    figures = gen_metrics.summarize_logged_metrics()
    assert (figures["avg_failed"], figures["avg_no_answer"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))


def test_a_wrong_key_ends_the_run_at_once_unless_there_are_answers_to_lose(said: list[str]) -> None:
    with pytest.raises(MisconfiguredError, match="the endpoint refuses the key"):
        run([failure(401)], ["Which?", "And which?"])
    outputs, _ = run([answer("red"), failure(401)], ["Which?", "And which?"])
    assert [output.text for output in outputs] == ["red", ""]
    assert "task, question 1: misconfigured" in "".join(said)


@pytest.mark.usefixtures("said")
def test_the_token_budget_of_a_run_ends_the_asking() -> None:
    usage_metrics.set_budget(5)
    outputs, endpoint = run([answer("red")], ["Which?", "And which?"])
    assert outputs == [GenerationResult("red", TokenCounts(0, 7)), GenerationResult("")]
    assert len(endpoint.requests) == 1


def test_what_an_agent_cannot_do_is_said() -> None:
    model: Any = get_model("agentic_vision")(policy="m", base_url="http://localhost:1/v1", api_key="k")
    with pytest.raises(NotImplementedError, match="no loglikelihood"):
        model.loglikelihood([])
    with pytest.raises(NotImplementedError, match="every question for itself"):
        model.generate_until_multi_round([])


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"batch_size": "auto"}, "--batch_size auto"),
        ({"base_url": "http://localhost:1/v1"}, "policy=MODEL"),
        ({"policy": "m", "base_url": "http://localhost:1/v1", "device": "cuda"}, "no --device"),
    ],
)
def test_arguments_that_cannot_be_are_said(arguments: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        get_model("agentic_vision")(**arguments)


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="one process asks all questions"):
        get_model("agentic_vision")()
