"""The checkpoint that ships with the package, as the policy that answers when nobody names one."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from PIL import Image

from agentic_vision.evaluation import evaluate
from agentic_vision.evaluation.scores import StrategyScores
from agentic_vision.policies.embedded import EmbeddedPolicy
from agentic_vision.policy import Conversation, ImagePart, Message, Policy, PromptStyle, TextPart
from agentic_vision.rows import read_rows
from agentic_vision.source import Source
from agentic_vision.training.data.pocket_vqa import write_pocket_vqa
from agentic_vision.view import View

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

FOLDER = Path(str(resources.files("agentic_vision.policies") / "embedded_checkpoint"))
SOURCE = Source.open(Image.effect_mandelbrot((256, 256), (-2, -2, 2, 2), 20).convert("RGB"))


@pytest.fixture(scope="module")
def policy() -> EmbeddedPolicy:
    return EmbeddedPolicy.load(device="cpu")


def question(name: str, text: str = "What is the number on the red card?") -> Conversation:
    glance = ImagePart(view=View.whole(SOURCE.size, (128, 128)), source=SOURCE)
    system = Message(role="system", parts=(TextPart(text="Tools: zoom_crop, full_res, resize."),))
    return Conversation(id=name, messages=(system, Message(role="user", parts=(glance, TextPart(text=text)))))


def test_it_is_told_of_its_tools_in_its_own_way(policy: EmbeddedPolicy) -> None:
    assert isinstance(policy, Policy)
    assert policy.style == PromptStyle.COMPACT
    assert policy.family.name == "pocket"


def test_the_pocket_family_is_the_checkpoint_s_own_arithmetic(policy: EmbeddedPolicy) -> None:
    from agentic_vision.policies.weights import load_reader

    own = load_reader(str(FOLDER)).family
    for size in [(64, 64), (128, 128), (256, 256), (300, 100), (1600, 1200), (17, 900)]:
        assert policy.family.tokens(size) == own.tokens(size)
        assert policy.family.full(size) == own.full(size)


def test_it_is_small_safe_and_computes_in_float32(policy: EmbeddedPolicy) -> None:
    files = {file.name for file in FOLDER.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"} <= files
    assert not {name for name in files if name.endswith((".bin", ".pt", ".pkl", ".py"))}
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 16 * 2**20
    assert {p.dtype for p in policy.model.parameters()} == {torch.float32}


def test_two_turns(policy: EmbeddedPolicy) -> None:
    first = question("two turns")
    reply = asyncio.run(policy.reply(first))
    assert 0 < reply.output_tokens <= 96
    said = Message(role="assistant", parts=(TextPart(text=reply.text),))
    more = Message(role="tool", parts=(ImagePart(view=View.whole(SOURCE.size), source=SOURCE),))
    second = first.model_copy(update={"messages": (*first.messages, said, more)})
    again = asyncio.run(policy.reply(second))
    # A tool's message is a user's, with an image of 256 tokens between its two marks.
    assert again.input_tokens >= reply.input_tokens + reply.output_tokens - 1 + 256 + 2
    policy.forget("two turns")


def test_what_it_writes_survives_its_tokenizer(policy: EmbeddedPolicy) -> None:
    encoder = policy._turns.encoder
    for text in (
        '<think>It is too small to read here.</think><tool_call>{"name": "zoom_crop", "arguments": '
        '{"bbox_2d": [125, 350, 500, 725]}}</tool_call>',
        "<think>I can see it.</think><answer>417</answer>",
        "Ünïcode, 漢字 and <|im_end|>",
    ):
        assert encoder.decode(encoder._tokenizer.encode(text, add_special_tokens=False)) == text


def test_rendering_by_pieces_gives_the_ids_of_the_whole(policy: EmbeddedPolicy) -> None:
    """Training tokenises a whole conversation at once, inference piece by piece: the ids must be the same."""
    encoder = policy._turns.encoder
    text = "What is the total on the receipt?"
    reply = '<think>Too small.</think><tool_call>{"name": "full_res", "arguments": {}}</tool_call>'
    asked = question("pieces", text)
    said = Message(role="assistant", parts=(TextPart(text=reply),))
    more = Message(role="tool", parts=asked.messages[1].parts[:1])
    pieces = encoder.pieces(asked.model_copy(update={"messages": (*asked.messages, said, more)}))
    image = {"type": "image"}
    whole = encoder._tokenizer.apply_chat_template(
        [
            {"role": "system", "content": "Tools: zoom_crop, full_res, resize."},
            {"role": "user", "content": [image, {"type": "text", "text": text}]},
            {"role": "assistant", "content": reply},
            {"role": "tool", "content": [image]},
        ],
        tokenize=False,
        add_generation_prompt=True,
    ).replace("<|image_pad|>", "<|image_pad|>" * 64)
    assert encoder.encode(pieces, {}).ids == encoder._tokenizer.encode(whole, add_special_tokens=False)


def test_a_fresh_process_loads_it_quickly_and_in_little_memory() -> None:
    """The promise is 3 s and 1.5 GB on two idle cores. Here: processor time, with room for a slow machine."""
    code = (
        "import json, re, time; from agentic_vision.policies.embedded import EmbeddedPolicy;"
        "start = time.process_time(); EmbeddedPolicy.load(device='cpu'); used = time.process_time() - start;"
        # Not getrusage: the most that a process ever had counts in what its children ever had.
        "peak = int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]);"
        "print(json.dumps([used, peak]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, kilobytes = json.loads(done.stdout)
    assert seconds < 12
    assert kilobytes < 1.5e6


@pytest.fixture(scope="module")
def scores(policy: EmbeddedPolicy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, StrategyScores]:
    """On pictures that it was not trained on."""
    folder = tmp_path_factory.mktemp("pocket")
    rows = read_rows(write_pocket_vqa(folder / "data", 48, seed=5, split="heldout"))
    return evaluate(rows, policy, ["glance", "right_crop", "full", "agent"], folder / "results").strategies


def test_it_sees(scores: dict[str, StrategyScores]) -> None:
    """Well above what guessing or the wording alone could give."""
    assert (scores["glance"].accuracy_coarse or 0) > 0.7
    assert (scores["glance"].accuracy_fine or 0) < 0.3
    assert (scores["right_crop"].accuracy_fine or 0) > 0.7
    assert scores["right_crop"].malformed in (0, None)


def test_it_looks_again_where_it_must(scores: dict[str, StrategyScores]) -> None:
    """The promise is 85 % of fine and 10 % of coarse questions, on a thousand; here with room for 48."""
    agent = scores["agent"]
    assert (agent.call_ratio_fine or 0) >= 0.85
    assert (agent.call_ratio_coarse or 0) <= 0.15
    assert agent.visual_tokens_ratio <= 0.36
    assert agent.accuracy >= 0.95 * scores["full"].accuracy
