"""Pruning policies: FastV, VisionDrop and ToDRE on tiny checkpoints of the three architectures and the embedded one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from local_policy import CROP, GLANCE, SOURCE, ask, ask_together, said, seen, user, watching
from tiny_checkpoints import ARCHITECTURES, make

from agentic_vision import Result, VisionAgent
from agentic_vision.errors import ConfigError
from agentic_vision.policies.embedded import EmbeddedPolicy
from agentic_vision.policies.pruned import METHODS, PrunedPolicy
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.policies.sessions import Session
from agentic_vision.policies.transformers import TransformersPolicy
from agentic_vision.policy import Conversation, Message, Policy, Reply
from agentic_vision.rows import read_rows
from agentic_vision.training.data.pocket_vqa import write_pocket_vqa

torch = pytest.importorskip("torch")
transformers: Any = pytest.importorskip("transformers")

from agentic_vision.policies.pruned.encoder_attention import EncoderAttention  # noqa: E402
from agentic_vision.policies.pruned.fastv import FastV  # noqa: E402
from agentic_vision.policies.pruned.layer_attention import LayerAttention  # noqa: E402
from agentic_vision.policies.pruned.todre import ToDRE  # noqa: E402
from agentic_vision.policies.pruned.visiondrop import VisionDrop  # noqa: E402

LAYERS = 4
TWO_VIEWS = (user("What is it, and what is that?", GLANCE, CROP),)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TransformersPolicy:
    folder = make(tmp_path_factory.mktemp("deep") / request.param, request.param, layers=LAYERS)
    return TransformersPolicy.load(folder, device="cpu", max_new_tokens=6)


@pytest.fixture(scope="module")
def embedded() -> EmbeddedPolicy:
    return EmbeddedPolicy.load(device="cpu")


def held(policy: TransformersPolicy, *messages: Message) -> Session:
    """What a policy keeps of a conversation after its next reply."""
    policy.forget("held")
    ask(policy, "held", *messages)
    return policy._sessions.get("held")


def columns(session: Session) -> list[int]:
    assert session.keys_values
    return [keys.shape[2] for keys, _ in session.keys_values]


def two_turns(policy: TransformersPolicy) -> tuple[list[Any], list[Any]]:
    """Replies and logits of a conversation with three images in two turns, the second on the first one's cache."""
    policy.forget("turns")
    with watching(policy) as watch:
        first = ask(policy, "turns", *TWO_VIEWS)
        second = ask(policy, "turns", *TWO_VIEWS, said(first), seen(CROP))
    assert watch.images == 3
    return [first, second], watch.logits


@pytest.mark.parametrize("method", METHODS)
def test_all_kept_is_the_plain_model(plain: TransformersPolicy, method: str) -> None:
    pruned = PrunedPolicy.of(plain, method, kept=1.0)
    assert isinstance(pruned, Policy)
    assert pruned.model is plain.model
    replies, logits = two_turns(plain)
    same, close = two_turns(pruned)
    assert same == replies
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(logits, close, strict=True))
    assert pruned.processed_share == 1.0


def test_a_layer_s_columns_can_all_be_kept_at_its_stage_too(plain: TransformersPolicy) -> None:
    # So little is dropped that rounding keeps every token: scores are taken, and columns move, all the same.
    for method in METHODS:
        pruned = PrunedPolicy.of(plain, method, kept=0.9999)
        if method == "todre":
            pruned = PrunedPolicy.of(plain, ToDRE(threshold=0.0), kept=0.9999)
        replies, logits = two_turns(plain)
        same, close = two_turns(pruned)
        assert same == replies
        assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(logits, close, strict=True))


def test_the_cache_shrinks_by_what_is_dropped(plain: TransformersPolicy) -> None:
    whole = held(plain, *TWO_VIEWS)
    tokens = [plain.family.tokens(view.size) for view in (GLANCE, CROP)]
    rest = columns(whole)[0] - sum(tokens)

    def left(share: float) -> int:
        return rest + sum(max(1, int(share * number + 0.5)) for number in tokens)

    fastv = held(PrunedPolicy.of(plain, FastV(layer=3), kept=0.25), *TWO_VIEWS)
    assert columns(fastv) == [left(1.0)] * 3 + [left(0.25)]
    todre = held(PrunedPolicy.of(plain, ToDRE(threshold=0.0), kept=0.25), *TWO_VIEWS)
    assert columns(todre) == [left(0.25)] * 4
    assert todre.size / whole.size == pytest.approx(left(0.25) / left(1.0))
    blind = held(PrunedPolicy.of(plain, ToDRE(threshold=1.1), kept=0.25), *TWO_VIEWS)
    assert columns(blind) == [left(0.25)] * 3 + [rest]
    method = VisionDrop()
    visiondrop = held(PrunedPolicy.of(plain, method, kept=0.3), *TWO_VIEWS)
    assert columns(visiondrop) == [left(share) for share in method.shares(LAYERS, 0.3).values()]
    assert visiondrop.length == whole.length == columns(whole)[0]


def test_a_second_turn_prunes_only_its_own_images(plain: TransformersPolicy) -> None:
    pruned = PrunedPolicy.of(plain, ToDRE(threshold=0.0), kept=0.25)
    first = ask(pruned, "more", *TWO_VIEWS)
    before = columns(pruned._sessions.get("more"))
    with watching(pruned) as watch:
        second = ask(pruned, "more", *TWO_VIEWS, said(first), seen(CROP))
    assert watch.images == 1
    tokens = plain.family.tokens(CROP.size)
    new = second.input_tokens - first.input_tokens - first.output_tokens + 1  # the last of the reply is new
    added = new - tokens + int(0.25 * tokens + 0.5) + second.output_tokens - 1
    assert columns(pruned._sessions.get("more")) == [number + added for number in before]
    pruned.forget("more")


def whole_run(plain: TransformersPolicy) -> tuple[list[Any], list[int], Any]:
    """What transformers says of the plain model's first pass over TWO_VIEWS: keys of all layers, ids, and its output
    with attentions and hidden states.
    """
    encoder, model = plain._turns.encoder, plain.model
    chunk = encoder.encode(encoder.pieces(Conversation(id="", messages=TWO_VIEWS)), {})
    ids = torch.tensor([chunk.ids])
    model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            out = model(
                input_ids=ids,
                position_ids=plain._turns.decoder._positions(chunk)[:, None],
                pixel_values=chunk.images[0],
                image_grid_thw=chunk.images[1],
                output_attentions=True,
                output_hidden_states=True,
                use_cache=True,
            )
    finally:
        model.set_attn_implementation("sdpa")
    return [layer.keys for layer in out.past_key_values.layers], chunk.ids, out


def test_fastv_keeps_what_the_last_token_attended_to_where_it_was(plain: TransformersPolicy) -> None:
    keys, ids, out = whole_run(plain)
    attended = out.attentions[1][0].mean(dim=0)[-1]
    kept = [index for index, token in enumerate(ids) if token != plain.model.config.image_token_id]
    start = 0
    for view in (GLANCE, CROP):
        number = plain.family.tokens(view.size)
        places = [i for i, token in enumerate(ids) if token == plain.model.config.image_token_id][start:][:number]
        best = sorted(places, key=lambda place: -attended[place])[: int(0.36 * number + 0.5)]
        kept, start = kept + best, start + number
    session = held(PrunedPolicy.of(plain, "fastv", kept=0.36), *TWO_VIEWS)
    assert session.keys_values
    # Keys carry their rotary positions: equal keys at the first pruned layer are equal positions.
    found = session.keys_values[2][0][:, :, : len(kept)]
    assert torch.allclose(found, keys[2][:, :, sorted(kept)], atol=1e-4)
    assert session.next_position == held(plain, *TWO_VIEWS).next_position


@pytest.mark.parametrize("method", ["todre", "visiondrop"])
def test_what_is_kept_before_the_first_layer_stays_in_its_place(plain: TransformersPolicy, method: str) -> None:
    keys, ids, _ = whole_run(plain)
    pruned = PrunedPolicy.of(plain, method, kept=0.3)
    reply = ask(pruned, "held", *TWO_VIEWS)
    session = pruned._sessions.get("held")
    assert session.keys_values
    prompt = columns(session)[0] - reply.output_tokens + 1
    found, known = (states[0].transpose(0, 1).flatten(1) for states in (session.keys_values[0][0], keys[0]))
    apart = (found[:prompt, None] - known).abs().amax(dim=2)
    same = (apart < 1e-4).any(dim=1)
    assert prompt < len(ids)
    # VisionDrop's contextual tokens are new, one to an image; all others are where they were, in their order.
    assert (~same).sum() == (2 if method == "visiondrop" else 0)
    nearest = apart.argmin(dim=1)[same].tolist()
    assert nearest == sorted(set(nearest))


@pytest.mark.parametrize("method", METHODS)
def test_batched_answers_are_the_single_ones(plain: TransformersPolicy, method: str) -> None:
    pruned = PrunedPolicy.of(plain, method, kept=0.36)
    history: dict[str, tuple[Message, ...]] = {
        "one": (user("?", GLANCE),),
        "two": (user("A rather longer question about two pictures?", GLANCE, CROP),),
        "three": (user("no picture"),),
    }

    def both_turns(*, together: bool) -> list[Reply]:
        replies: list[Reply] = []
        for turn in range(2):
            asked = [
                Conversation(id=name, messages=messages if turn == 0 else (*messages, said(replies[index]), seen(CROP)))
                for index, (name, messages) in enumerate(history.items())
            ]
            if together:
                replies += ask_together(pruned, *asked)
            else:
                replies += [ask_together(pruned, conversation)[0] for conversation in asked]
        for name in history:
            pruned.forget(name)
        return replies

    alone = both_turns(together=False)
    with watching(pruned) as watch:
        assert both_turns(together=True) == alone
    assert max(len(logits) for logits in watch.logits) == len(history)


def test_a_layer_s_attention_is_its_own(plain: TransformersPolicy) -> None:
    keys, ids, out = whole_run(plain)
    encoder, text = plain._turns.encoder, plain.model.model.language_model
    chunk = encoder.encode(encoder.pieces(Conversation(id="", messages=TWO_VIEWS)), {})
    hidden, mask = out.hidden_states[3], torch.ones(1, len(ids), dtype=torch.bool)
    with torch.inference_mode():
        rotary = text.rotary_emb(hidden, plain._turns.decoder._positions(chunk)[:, None])
        attention = LayerAttention(text.layers[3], hidden, rotary, keys[3], mask)
        expected = out.attentions[3].mean(dim=1)
        assert torch.allclose(attention.weights(0, torch.arange(len(ids))), expected[0], atol=1e-5)
        assert torch.allclose(attention.weights(0, torch.tensor([3, 1])), expected[0, [3, 1]], atol=1e-5)


def test_the_encoder_s_attention_is_its_own(plain: TransformersPolicy) -> None:
    model, image = plain.model.model, plain._turns.encoder._images(TWO_VIEWS[0].images)
    assert image
    pixels, grids = image
    with torch.inference_mode():
        found = model.get_image_features(pixels, grids, return_dict=True, output_hidden_states=True)
        attention = EncoderAttention(model.visual, found.hidden_states, grids)
        block, start = model.visual.blocks[-1], 0
        for number, grid in enumerate(grids):
            # The block's output, from the queries and keys that the scores are made of.
            queries, keys, order = attention._projected(number)
            states = found.hidden_states[-2][start : start + int(grid.prod())]
            value = block.attn.qkv(block.norm1(states)).reshape(len(states), 3, *queries.shape[::2])[:, 2]
            weights = (queries @ keys.transpose(1, 2) * block.attn.scaling).softmax(dim=2)
            mixed = states + block.attn.proj((weights @ value.transpose(0, 1)).transpose(0, 1).flatten(1))
            expected = mixed + block.mlp(block.norm2(mixed))
            assert torch.allclose(
                expected, found.last_hidden_state[start : start + int(grid.prod())], atol=1e-4, rtol=1e-4
            )
            scores, _ = attention.of(number)
            received = weights.mean(dim=(0, 1)).reshape(len(order), 4).mean(dim=1)
            assert torch.allclose(scores[order], received, atol=1e-6)
            # Merged in the order of the scores, the tokens are those that the model sees.
            merged = model.visual.merger(found.last_hidden_state[start : start + int(grid.prod())])
            assert torch.allclose(found.pooler_output[number][order], merged, atol=1e-4, rtol=1e-4)
            start += int(grid.prod())


def test_the_share_that_is_processed_is_the_mean_over_the_layers(embedded: EmbeddedPolicy) -> None:
    assert PrunedPolicy.of(embedded, "fastv", kept=0.25).processed_share == pytest.approx((2 + 3 * 0.25) / 5)
    assert PrunedPolicy.of(embedded, FastV(layer=4), kept=0.5).processed_share == pytest.approx((4 + 0.5) / 5)
    assert PrunedPolicy.of(embedded, "visiondrop", kept=0.25).processed_share == pytest.approx(0.25)
    assert PrunedPolicy.of(embedded, "todre", kept=0.36).processed_share == pytest.approx(0.36)


def test_wrong_use_is_told_with_the_mend(embedded: EmbeddedPolicy, tmp_path: Path) -> None:
    for kept in (0.0, -0.5, 1.01, float("nan")):
        with pytest.raises(ConfigError, match="give one above 0 and at most 1"):
            PrunedPolicy.of(embedded, "fastv", kept=kept)
    with pytest.raises(ConfigError, match="give one of fastv, visiondrop, todre"):
        PrunedPolicy.of(embedded, "slowv", kept=0.5)
    for method in (FastV(layer=5), FastV(layer=0), VisionDrop(layers=(1, 5)), ToDRE(layer=9)):
        with pytest.raises(ConfigError, match="give a layer from 1 to 4"):
            PrunedPolicy.of(embedded, method, kept=1.0)
    with pytest.raises(ConfigError, match="give one of fastv"):
        PrunedPolicy.load(tmp_path / "nowhere", "slowv", kept=0.5)
    with pytest.raises(ConfigError, match="no checkpoint folder"):
        PrunedPolicy.load(tmp_path / "nowhere", "fastv", kept=0.5)
    other = embedded.model.config.text_config.to_dict()
    config: Any = transformers.AutoConfig.for_model("qwen3", **{k: other[k] for k in ("hidden_size", "vocab_size")})
    with torch.device("meta"):
        text_only = transformers.AutoModelForCausalLM.from_config(config)
    with pytest.raises(ConfigError, match="local weights"):
        PrunedPolicy.of(ScriptedPolicy(["?"]), "fastv", kept=0.5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"qwen3 model cannot be pruned: give Qwen2-VL, 2\.5-VL or 3-VL"):
        PrunedPolicy.of(replace(embedded.weights, model=text_only), "fastv", kept=0.5)


def test_loading_takes_the_options_of_the_plain_policy(qwen3: Path) -> None:
    policy = PrunedPolicy.load(qwen3, "todre", kept=0.5, device="cpu", max_new_tokens=3)
    assert ask(policy, "short", user("?", GLANCE)).output_tokens <= 3
    assert policy.options["max_new_tokens"] == 3
    assert policy.family.tokens(SOURCE.size) == TransformersPolicy.load(qwen3, device="cpu").family.tokens(SOURCE.size)


@pytest.mark.parametrize("method", METHODS)
def test_an_agent_whose_views_are_pruned_looks_again(embedded: EmbeddedPolicy, tmp_path: Path, method: str) -> None:
    rows = [row for row in read_rows(write_pocket_vqa(tmp_path, n=8, seed=1, split="heldout")) if row.kind == "fine"][
        :3
    ]
    tools = ["zoom_crop", "full_res", "resize"]

    def results(policy: TransformersPolicy) -> list[Result]:
        return VisionAgent(policy, tools=tools).batch([(list(row.images), row.question) for row in rows])

    plain, all_kept, half = (
        results(policy) for policy in (embedded, *(PrunedPolicy.of(embedded, method, kept=kept) for kept in (1.0, 0.5)))
    )
    assert [result.answer for result in all_kept] == [result.answer for result in plain]
    calls = [call for result in half for turn in result.trajectory.turns for call in turn.calls]
    assert calls
    assert all(result.answer is not None for result in half)
