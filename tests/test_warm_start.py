"""How the embedded checkpoint is trained: its inputs are the agent's own, its labels true, its runs resumable."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs agentic-vision[local]")


from agentic_vision.protocol import parse  # noqa: E402
from agentic_vision.training.data.pocket_vqa import draw_scene  # noqa: E402
from agentic_vision.training.warm_start.answering import Answering  # noqa: E402
from agentic_vision.training.warm_start.architecture import (  # noqa: E402
    TOOLS,
    build_model,
    build_tokenizer,
    save_checkpoint,
)
from agentic_vision.training.warm_start.cells import (  # noqa: E402
    CHARS,
    asked_box,
    cut,
    full,
    page,
)
from agentic_vision.training.warm_start.dialogue import Tree, weave  # noqa: E402
from agentic_vision.training.warm_start.gaze import HEADS, LAYER, Gaze  # noqa: E402
from agentic_vision.training.warm_start.loop import Stage, StagedRun  # noqa: E402
from agentic_vision.training.warm_start.muon import Muon  # noqa: E402
from agentic_vision.training.warm_start.optimizer import Trained  # noqa: E402
from agentic_vision.training.warm_start.reading import CellHeads, pack  # noqa: E402
from agentic_vision.training.warm_start.recipe import LOOK, PRINT, warm_start  # noqa: E402
from agentic_vision.training.warm_start.trees import Mix, full_tree, glance_tree  # noqa: E402


@pytest.fixture(scope="module")
def model():
    return build_model(0).eval()


def scene(seed=3, name="cards"):
    return draw_scene(random.Random(seed), "train", name)


def test_any_text_survives_the_tokenizer_and_the_protocol_is_few_tokens():
    tokenizer = build_tokenizer()
    for text in ("What is the total?", "Zürich 東京 🙂 <b>", "29.60\n\n\t1,234", '{"a": [1, 2]}'):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    call = '<tool_call>{"name": "zoom_crop", "arguments": {"bbox_2d": [125, 350, 500, 725]}}</tool_call>'
    assert len(tokenizer(call)["input_ids"]) == 11


def test_a_coordinate_one_step_off_is_nearly_right(model):
    blurred = Answering(model, CellHeads(192), cells=0.0, gaze=0.0, blur=0.4)
    tokenizer = build_tokenizer()
    words = [" 325,", " 350,", " 375,", " 400,", " 350", "7"]
    ids = torch.tensor(tokenizer.convert_tokens_to_ids(words))

    def best(target):
        """The words from the least loss to the most, where `target` is what should be said."""
        wanted = torch.tensor([tokenizer.convert_tokens_to_ids(target)])
        losses = {}
        for word, index in zip(words, ids.tolist(), strict=True):
            logits = torch.zeros(1, len(tokenizer))
            logits[0, index] = 5.0
            losses[word] = float(blurred._losses(logits, wanted))
        return sorted(losses, key=losses.get)

    assert best(" 350,")[:3] == [" 350,", " 325,", " 375,"]
    assert best("7")[0] == "7"


def test_a_branch_in_a_tree_is_what_it_would_be_alone(model):
    """Packed questions give the logits of a plain forward pass of transformers on one of them, at its own positions."""
    learn = Answering(model, CellHeads(192), cells=0.0, gaze=0.0)
    for seed in range(30):
        rng = random.Random(seed)
        tree = glance_tree(scene(seed), rng, questions=4, second=2)
        with_crop = [b for b in tree.branches if b.windows]
        if with_crop:
            break
    image = build_tokenizer().convert_tokens_to_ids("<|image_pad|>")
    with torch.no_grad():
        together = learn._forward(weave([tree]))
        at = 0
        for branch in tree.branches:
            lesson = weave([Tree(tree.root, [branch])])
            plain = model(
                input_ids=lesson.ids,
                pixel_values=lesson.sight.patches,
                image_grid_thw=lesson.sight.grid,
                mm_token_type_ids=(lesson.ids == image).int(),
            ).logits
            row, column = (lesson.weights > 0).nonzero(as_tuple=True)
            alone = plain[row, lesson.sources[row, column]]
            packed = together[0][at : at + len(alone)]
            assert torch.allclose(packed, alone, atol=1e-4)
            at += len(alone)
    assert at == len(together[0])


@pytest.mark.parametrize("tools", [True, False])
def test_a_lesson_is_tokenised_as_the_chat_template_renders_it(tools):
    tokenizer = build_tokenizer()
    drawn = scene()
    question = drawn.questions[0]
    made = full_tree(drawn, random.Random(0), questions=50) if not tools else None
    if made is None:
        seeds = (glance_tree(drawn, random.Random(s), questions=50, second=0) for s in range(9))
        made = next(t for t in seeds if "system" in tokenizer.decode(t.root.ids))
    branch = next(b for b in made.branches if tokenizer.decode(b.ids).startswith(question.text))
    content = [{"type": "image"}, {"type": "text", "text": question.text}]
    messages = [{"role": "user", "content": content}]
    if tools:
        messages.insert(0, {"role": "system", "content": f"Tools: {', '.join(TOOLS)}."})
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    wanted = tokenizer(rendered)["input_ids"]
    pad = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    ids = made.root.ids + branch.ids
    folded = [t for i, t in enumerate(ids) if t != pad or ids[i - 1] != pad]
    assert folded[: len(wanted)] == wanted


def test_the_calls_and_answers_that_it_learns_are_the_protocol():
    tokenizer = build_tokenizer()
    kinds = set()
    for seed in range(12):
        for branch in glance_tree(scene(seed), random.Random(seed), questions=6, second=2).branches:
            text = tokenizer.decode(branch.ids)
            for reply in text.split("<|im_start|>assistant\n")[1:]:
                turn = parse(reply.split("<|im_end|>")[0])
                assert turn.problem is None, reply
                kinds |= {call.name for call in turn.calls} or {"answer"}
    assert kinds >= {"answer", "zoom_crop"}


def test_about_half_of_the_lessons_call_whatever_the_question():
    calls = {"coarse": [], "fine": []}
    tokenizer = build_tokenizer()
    for seed in range(60):
        drawn = scene(seed)
        kinds = {q.text: q.kind for q in drawn.questions}
        tree = glance_tree(drawn, random.Random(seed), questions=8, second=0)
        if not tokenizer.decode(tree.root.ids).startswith("<|im_start|>system"):
            continue
        for branch in tree.branches:
            text = tokenizer.decode(branch.ids)
            if text.count("<|im_start|>assistant") == 1:
                calls[kinds[text.split("<|im_end|>")[0]]].append("<tool_call>" in text)
    for answers in calls.values():
        assert len(answers) > 100
        assert 0.42 < sum(answers) / len(answers) < 0.68


def test_the_asked_box_covers_the_evidence_even_two_steps_off():
    for seed in range(20):
        drawn = scene(seed)
        width, height = drawn.image.size
        for q in drawn.questions:
            box = asked_box(q.evidence, drawn.image.size, (14, 14, 14, 14))
            x0, y0, x1, y1 = q.evidence
            assert box[0] * width / 1000 <= x0
            assert box[1] * height / 1000 <= y0
            assert box[2] * width / 1000 >= x1
            assert box[3] * height / 1000 >= y1


def tiny_lesson(rng):
    return pack([cut(page(rng), rng)])


def test_an_interrupted_run_ends_as_an_unbroken_one(tmp_path):
    """Killed after any step that was saved, it goes on with the same pictures and the optimizers' state."""

    class KilledError(Exception):
        pass

    def build():
        net = build_model(0)
        torch.manual_seed(1)
        return net, CellHeads(192)

    def train(folder, fail_at=None):
        net, heads = build()
        run = StagedRun(folder, {"model": net, "heads": heads}, seed=1, ahead=0)

        tower = net.model.visual

        def learn(sight):
            if fail_at is not None and run.step == fail_at:
                raise KilledError
            return heads(tower(sight.patches, grid_thw=sight.grid).pooler_output, sight)

        stage = Stage("print", tiny_lesson, steps=4, muon=1e-3, adamw=1e-3)
        run.stage(stage, learn, [Trained(tower), Trained(heads)], every=2, save_every=1)
        return net

    whole = train(tmp_path / "whole").state_dict()
    with pytest.raises(KilledError):
        train(tmp_path / "broken", fail_at=3)
    with (tmp_path / "broken" / "metrics.jsonl").open("a") as out:
        out.write('{"stage": "print", "st')  # a kill in the middle of a line
    resumed = train(tmp_path / "broken").state_dict()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    lines = (tmp_path / "broken" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4]


def test_the_recipe_gives_a_checkpoint_that_transformers_loads_by_name(tmp_path):
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    stages = tuple(
        replace(stage, steps=1, lesson=lesson)
        for stage, lesson in (
            (PRINT, tiny_lesson),
            (LOOK, Mix(crops=2, glances=1, fulls=1, questions=2, second=1)),
        )
    )
    folder = warm_start(tmp_path, stages, ahead=0)
    loaded = AutoModelForImageTextToText.from_pretrained(folder)
    assert type(loaded).__name__ == "Qwen3VLForConditionalGeneration"
    assert AutoTokenizer.from_pretrained(folder).chat_template
    assert sum(f.stat().st_size for f in folder.iterdir()) < 16 * 2**20
    again = tmp_path / "again"
    save_checkpoint(build_model(0), again)
    assert (again / "model.safetensors").stat().st_size == (folder / "model.safetensors").stat().st_size


def test_figures_are_of_all_lessons_and_the_cells_of_none_where_they_do_not_count(model):
    lessons = [weave([full_tree(scene(seed), random.Random(0), questions=2)]) for seed in (3, 4)]
    with torch.no_grad():
        learn = Answering(model, CellHeads(192), cells=0.3, gaze=0.5)
        both, alone = learn(lessons)[1], [learn([lesson])[1] for lesson in lessons]
        for name in ("gaze", "color", "chars"):
            assert both[name] == pytest.approx(sum(figures[name] for figures in alone) / 2), name
        assert alone[0]["gaze"] != pytest.approx(alone[1]["gaze"])
        learn.cells = 0.0
        assert "color" not in learn(lessons)[1]


def test_the_gaze_is_the_attention_that_the_model_really_pays(model):
    """Held to the weights of transformers' own eager attention."""
    tree = full_tree(scene(), random.Random(0), questions=3)
    lesson = weave([tree])
    learn = Answering(model, CellHeads(192), cells=0.0, gaze=0.0)
    language = model.model.language_model
    weights = []
    with torch.no_grad():
        with Gaze(language) as gaze:
            learn._forward(lesson)
        _, share = gaze.astray(lesson)
        hook = language.layers[LAYER].self_attn.register_forward_hook(lambda _, __, out: weights.append(out[1]))
        kind = language.config._attn_implementation
        try:
            language.config._attn_implementation = "eager"
            learn._forward(replace(lesson, mask=torch.where(lesson.mask, 0.0, float("-inf"))))
        finally:
            language.config._attn_implementation = kind
            hook.remove()
    paid = [
        (weights[0][row, :HEADS, index] * lesson.looked_at[i]).sum(-1).mean()
        for i, (row, index) in enumerate(lesson.lookers.tolist())
    ]
    assert share == pytest.approx(float(torch.stack(paid).mean()), abs=1e-5)


def test_looks_fall_on_the_characters_that_are_said():
    drawn = scene()
    for branch in full_tree(drawn, random.Random(0), questions=50).branches:
        spots = [look.spot for look in branch.looks if look]
        question = next(q for q in drawn.questions if build_tokenizer().decode(branch.ids).startswith(q.text))
        if question.kind == "fine":
            shown = full(drawn)
            assert len(spots) == len(question.answer)
            for char, (cell,) in zip(question.answer, spots, strict=True):
                assert CHARS.index(char) + 1 in shown.labels.chars[cell]


def test_muon_is_torch_s_own_in_another_precision():
    start = [torch.randn(shape, generator=torch.Generator().manual_seed(1)) for shape in ((8, 24), (24, 8), (8, 24))]
    trained = []
    for make in (
        lambda params: Muon(params, lr=1e-2, weight_decay=0.02),
        lambda params: torch.optim.Muon(
            params, lr=1e-2, momentum=0.95, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"
        ),
    ):
        params = [torch.nn.Parameter(p.clone()) for p in start]
        optimizer = make(params)
        noise = torch.Generator().manual_seed(2)
        for _ in range(4):
            for p in params:
                p.grad = torch.randn(p.shape, generator=noise)
            optimizer.step()
        trained.append(params)
    for ours, theirs, before in zip(*trained, start, strict=True):
        moved = (theirs - before).norm()
        assert (ours - theirs).norm() < 0.02 * moved
