"""The transformers policy when something breaks: one request fails, the others and the next are right."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from local_policy import GLANCE, anew, ask, ask_together, said, user, watching
from PIL import Image

from agentic_vision.errors import ImageError, PolicyError
from agentic_vision.policies.transformers import TransformersPolicy
from agentic_vision.policy import Conversation, ImagePart, Message, Reply
from agentic_vision.source import Source

torch = pytest.importorskip("torch")


def test_cancelling_a_request_leaves_the_others_alone(qwen3: Path) -> None:
    policy = TransformersPolicy.load(qwen3, device="cpu", max_new_tokens=40)
    alone = ask(policy, "stays", user("?", GLANCE))
    policy.forget("stays")

    async def with_a_quitter() -> Reply:
        stays = asyncio.create_task(policy.reply(Conversation(id="stays", messages=(user("?", GLANCE),))))
        goes = asyncio.create_task(policy.reply(Conversation(id="goes", messages=(user("??", GLANCE),))))
        while 2 not in watch.rows[1:]:  # until both are being decoded
            await asyncio.sleep(0.001)
        goes.cancel()
        return await stays

    with watching(policy) as watch:
        assert asyncio.run(with_a_quitter()) == alone
    assert alone.output_tokens == 40  # of which the last are decoded alone
    assert watch.rows[-1] == 1
    assert policy._sessions.get("goes").size == 0


def test_a_broken_image_fails_its_own_request_only(policy: TransformersPolicy, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (300, 400, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    broken = Message(role="user", parts=(ImagePart(view=GLANCE, source=Source.open(path)),))

    async def both() -> list[Any]:
        asked = (
            Conversation(id="b", messages=(broken,)),
            Conversation(id="g", messages=(user("?", GLANCE),)),
        )
        return await asyncio.gather(*map(policy.reply, asked), return_exceptions=True)

    bad, good = asyncio.run(both())
    assert isinstance(bad, ImageError)
    assert good == ask(policy, "h", user("?", GLANCE))


def test_a_model_that_fails_says_so_and_goes_on(qwen3: Path) -> None:
    policy = TransformersPolicy.load(qwen3, device="cpu", max_new_tokens=6)
    alone = ask(policy, "x", user("?", GLANCE))
    calls = 0

    def fail_at_third_token(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("out of memory")

    hook = policy.model.register_forward_pre_hook(fail_at_third_token)
    with pytest.raises(PolicyError, match="out of memory"):
        ask(policy, "y", user("?", GLANCE))
    hook.remove()
    assert ask(policy, "y", user("?", GLANCE)) == alone


def test_where_memory_is_short_those_who_came_together_are_read_one_by_one(qwen3: Path) -> None:
    policy = TransformersPolicy.load(qwen3, device="cpu", max_new_tokens=6)
    asked = [Conversation(id=f"q{n}", messages=(user("?" * (1 + n), GLANCE),)) for n in range(3)]
    alone = [ask_together(policy, one)[0] for one in asked]
    for one in asked:
        policy.forget(one.id)

    def short(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        if kwargs["input_ids"].numel() > 100:  # a prompt has 40
            raise torch.OutOfMemoryError("out of memory")

    hook = policy.model.register_forward_pre_hook(short, with_kwargs=True)
    assert ask_together(policy, *asked) == alone
    hook.remove()


def test_rows_that_fail_once_they_are_in_leave_the_batch(qwen3: Path) -> None:
    policy = TransformersPolicy.load(qwen3, device="cpu", max_new_tokens=40)
    alone = ask(policy, "stays", user("?", GLANCE))
    policy.forget("stays")

    def deaf(_text: str) -> None:
        raise RuntimeError("nobody listens")

    async def both() -> Reply:
        stays = asyncio.create_task(policy.reply(Conversation(id="stays", messages=(user("?", GLANCE),))))
        while not watch.rows[2:]:  # until it is being decoded
            await asyncio.sleep(0.001)
        task = policy._turns.task(Conversation(id="fails", messages=(user("abc", GLANCE),)), None, say=deaf)
        with pytest.raises(PolicyError, match="nobody listens"):
            await asyncio.wrap_future(policy._batcher.submit(task))
        return await stays

    with watching(policy) as watch:
        assert asyncio.run(both()) == alone
    assert watch.rows[-1] == 1


def test_a_streamed_reply_is_heard_whole_and_every_token_is_decoded_once(
    qwen3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = TransformersPolicy.load(qwen3, device="cpu", max_new_tokens=300, temperature=5.0)
    encoder, decoded = policy._turns.encoder, []
    decode = encoder.decode
    monkeypatch.setattr(encoder, "decode", lambda ids: decoded.append(len(ids)) or decode(ids))

    async def hear(seed: int) -> tuple[str, Reply]:
        asked = Conversation(id=str(seed), messages=(user("?", GLANCE),))
        *pieces, reply = [piece async for piece in policy.stream(asked, seed=seed)]
        return "".join(pieces), reply

    for seed in range(3):
        heard, reply = asyncio.run(hear(seed))
        assert heard == reply.text
        assert "\ufffd" in heard  # characters of which not all bytes came, and some that did
        assert sum(decoded) < 10 * reply.output_tokens
        decoded.clear()


def test_a_reply_that_cannot_be_handed_out_fails_and_the_next_is_right(
    qwen3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = TransformersPolicy.load(qwen3, device="cpu", max_new_tokens=6)
    first = ask(policy, "x", user("?", GLANCE))
    turns = (user("?", GLANCE), said(first), user("Sure?"))

    def broken(_ids: Any) -> str:
        raise RuntimeError("no such id")

    with monkeypatch.context() as patch:
        patch.setattr(policy._turns.encoder, "decode", broken)
        with pytest.raises(PolicyError, match="no such id"):
            ask(policy, "x", *turns)
    unharmed = TransformersPolicy.load(qwen3, device="cpu", max_new_tokens=6)
    assert ask(unharmed, "x", user("?", GLANCE)) == first
    assert ask(policy, "x", *turns) == anew(ask(unharmed, "x", *turns))


def test_a_fork_where_the_thread_did_not_follow_answers_with_one_of_its_own(
    qwen3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentic_vision.policies import batcher as module

    monkeypatch.setattr(module, "IDLE_SECONDS", 0.5)
    policy = TransformersPolicy.load(qwen3, device="cpu", max_new_tokens=6)
    batcher = policy._batcher
    alone = ask(policy, "x", user("?", GLANCE))
    thread = batcher._thread
    assert thread is not None
    thread.join()
    lost = Conversation(id="lost", messages=(user("?", GLANCE),))
    # What a child finds: a thread that is known and not alive, and what it was asked.
    batcher._thread = thread
    batcher._waiting.append(module._Request(policy._turns.task(lost, None)))
    with watching(policy) as watch:
        assert ask(policy, "y", user("?", GLANCE)) == alone
    assert set(watch.rows) == {1}


def test_the_process_may_end_while_it_is_decoding(qwen3: Path) -> None:
    code = (
        "import sys, time; from agentic_vision.policies.transformers import TransformersPolicy;"
        "from agentic_vision.policy import Conversation, Message, TextPart;"
        "policy = TransformersPolicy.load(sys.argv[1], device='cpu', max_new_tokens=4000);"
        "said = Message(role='user', parts=(TextPart(text='Tell me all.'),));"
        "asked = [policy._turns.task(Conversation(id=str(n), messages=(said,)), None) for n in range(8)];"
        "replies = [policy._batcher.submit(task) for task in asked];"
        "time.sleep(float(sys.argv[2])); assert not any(reply.done() for reply in replies)"
    )
    for seconds in ("0.1", "0.15"):
        command = [sys.executable, "-c", code, str(qwen3), seconds]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_conversation_longer_than_the_model_can_read(qwen3: Path) -> None:
    policy = TransformersPolicy.load(qwen3, device="cpu", max_new_tokens=64)
    with pytest.raises(PolicyError, match="at most 4096: show it fewer"):
        ask(policy, "long", user("a" * 5000))
    with watching(policy) as watch:
        reply = ask(policy, "close", user("a" * 4050))
    assert reply.input_tokens + reply.output_tokens <= 4096
    assert len(watch.widths) == reply.output_tokens
