"""The second lesson: questions, calls and answers in the agent's protocol, over glances, crops and whole pictures.

Whether to call is left open on purpose: for any question, coarse or fine, about half of the examples call and half
answer at once.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..data.pocket.ink import Question, Rect, Scene
from ..data.pocket_vqa import CROP_MARGIN, draw_scene
from .architecture import ANSWER_THOUGHT, CALL_THOUGHT, TOOLS, build_tokenizer
from .cells import RESAMPLE, Window, asked_box, fit, full, glance, window
from .dialogue import Branch, Lesson, Look, Tree, weave

CALLS = 0.57
"""Share of the examples that call: near enough to half to leave the decision open; a shade over it, so that a policy
that takes the likelier action (temperature 0) looks before it answers."""
OPEN = 0.15
"""Weight of the tokens that decide: what they should be cannot be known."""
COARSE = 3.0
"""Weight of a coarse answer's token: it has one where a number has three and a box four."""
UNREADABLE = 0.03
"""Weight of a fine answer given from a glance: enough to keep its form, not enough to learn noise."""
WIDE = 0.6
"""Evidence over more than this share of the picture is no place to look at."""


def crop(scene: Scene, box: tuple[int, ...], rng: random.Random) -> Window:
    """What `zoom_crop` shows for `box` (0 to 1000): full detail, enlarged only to the family's floor."""
    width, height = scene.image.size
    x0, y0, x1, y1 = box[0] * width / 1000, box[1] * height / 1000, box[2] * width / 1000, box[3] * height / 1000
    span = (x1 - x0, y1 - y0)
    scale = max(1.0, (64 * 64 / (span[0] * span[1])) ** 0.5)
    return window(scene, (x0, y0, x1, y1), fit(span, scale), rng.choice(RESAMPLE), whole=False)


def _jitter(rng: random.Random, low: float, high: float) -> tuple[float, float, float, float]:
    return (rng.uniform(low, high), rng.uniform(low, high), rng.uniform(low, high), rng.uniform(low, high))


def _root(window: Window, tools: bool) -> Branch:
    root = Branch()
    if tools:
        root.text(f"<|im_start|>system\nTools: {', '.join(TOOLS)}.<|im_end|>\n")
    return root.text("<|im_start|>user\n").picture(window)


def _ask(question: Question) -> Branch:
    return Branch().text(f"{question.text}<|im_end|>\n<|im_start|>assistant\n")


def looks(scene: Scene, question: Question, shown: Window, tokens: int, *, own: bool) -> list[Look]:
    """Where each of an answer's tokens is read from in `shown`; none for what is asked of the whole picture."""
    area = shown.cells_in(question.evidence)
    if not area or len(area) > WIDE * len(shown.labels.color):
        return []
    spots = [area] * tokens
    if question.kind == "fine" and (shown.labels.chars >= 0).all():
        x0, y0, x1, y1 = question.evidence
        centers = [((g.box[0] + g.box[2]) / 2, (g.box[1] + g.box[3]) / 2) for g in scene.glyphs]
        inside = [(x, y) for x, y in centers if x0 <= x <= x1 and y0 <= y <= y1]
        if len(inside) == tokens:
            spots = [shown.cells_in((x, y, x, y)) or area for x, y in inside]
    return [Look(own, area, spot) for spot in spots]


def _answer(
    branch: Branch, question: Question, seen: list[Look], *, decision: float, weight: float, topic: str
) -> Branch:
    branch.topic = topic
    branch.text("<think>", 0.01).text(ANSWER_THOUGHT, decision).text("</think>", 0.05).text("<answer>", 0.05)
    branch.text(question.answer, weight, seen[: len(_tokens(question.answer))])
    return branch.text("</answer>", 1.0).text("<|im_end|>", 0.05)


def _tokens(text: str) -> list[int]:
    return list(build_tokenizer()(text, add_special_tokens=False)["input_ids"])


def _call(
    branch: Branch,
    name: str,
    box: tuple[int, ...] | None,
    seen: list[Look],
    *,
    weight: float,
    decision: float,
) -> Branch:
    branch.text("<think>", 0.01 if decision else 0.0).text(CALL_THOUGHT, decision)
    light = 0.05 if weight else 0.0
    branch.text('</think><tool_call>{"name": "', light).text(name, decision).text('", "arguments": {', light)
    if box:
        branch.text('"bbox_2d": [', light).text(", ".join(map(str, box)), weight, seen[:4])
        return branch.text("]}}</tool_call><|im_end|>", light)
    return branch.text("}}</tool_call><|im_end|>", light)


def _pick_tool(question: Question, size: tuple[int, int], rng: random.Random) -> str:
    x0, y0, x1, y1 = question.evidence
    wide = (x1 - x0) * (y1 - y0) > 0.4 * size[0] * size[1]
    return rng.choices(TOOLS, (0, 1, 1) if wide else (8, 1, 1))[0]


def glance_tree(scene: Scene, rng: random.Random, *, questions: int, second: int) -> Tree:
    """A glance with tools (or, one in four, without): answers, calls, and answers after a call's crop."""
    size = scene.image.size
    tools = rng.random() < 0.75
    seen = glance(scene, rng)
    tree = Tree(_root(seen, tools), [])
    asked = rng.sample(scene.questions, min(questions, len(scene.questions)))
    for question in asked:
        if tools and rng.random() < CALLS:
            name = _pick_tool(question, size, rng)
            box = asked_box(question.evidence, size, (CROP_MARGIN,) * 4) if name == "zoom_crop" else None
            at = looks(scene, question, seen, 4, own=False)
            branch = _call(_ask(question), name, box, at, weight=1.0, decision=OPEN)
            branch.topic = "box" if box else ""
        else:
            coarse = question.kind == "coarse"
            topic = "coarse_glance" if coarse else ""
            weight = COARSE if coarse else UNREADABLE
            decision = OPEN if tools else 0.05
            n = len(_tokens(question.answer))
            at = looks(scene, question, seen, n, own=False) if coarse else []
            branch = _answer(_ask(question), question, at, decision=decision, weight=weight, topic=topic)
        tree.branches.append(branch)
    if tools:
        fine = [q for q in scene.questions if q.kind == "fine"]
        for question in rng.sample(fine, min(second, len(fine))):
            box = asked_box(question.evidence, size, _jitter(rng, 4, 24))
            branch = _call(_ask(question), "zoom_crop", box, [], weight=0.0, decision=0.0)
            tree.branches.append(_then(branch, scene, question, crop(scene, box, rng), topic="fine_crop"))
        if rng.random() < 0.1:
            tree.branches.append(_whole_again(scene, rng))
    return tree


def _whole_again(scene: Scene, rng: random.Random) -> Branch:
    """Any question after `full_res` or `resize`."""
    question = rng.choice(scene.questions)
    name = rng.choice(("full_res", "full_res", "resize"))
    branch = _call(_ask(question), name, None, [], weight=0.0, decision=0.0)
    size = scene.image.size
    if name == "full_res":
        return _then(branch, scene, question, full(scene), topic=f"{question.kind}_again")
    shown = window(scene, (0, 0, *size), fit(size, 0.5**0.5), rng.choice(RESAMPLE), whole=True)
    readable = question.kind == "coarse"
    return _then(branch, scene, question, shown, topic="coarse_again" if readable else "", sure=readable)


def _then(branch: Branch, scene: Scene, question: Question, shown: Window, *, topic: str, sure: bool = True) -> Branch:
    """`branch`, a call, then what it showed and the answer from it; unless `sure`, it weighs less."""
    branch.text("\n<|im_start|>user\n").picture(shown).text("<|im_end|>\n<|im_start|>assistant\n")
    at = looks(scene, question, shown, len(_tokens(question.answer)), own=True) if sure else []
    return _answer(branch, question, at, decision=0.05, weight=_weight(question) if sure else 0.3, topic=topic)


def _weight(question: Question) -> float:
    return COARSE if question.kind == "coarse" else 1.0


def full_tree(scene: Scene, rng: random.Random, *, questions: int) -> Tree:
    """The whole picture in full detail, no tools: every question has its answer."""
    asked = sorted(scene.questions, key=lambda q: (q.kind == "coarse") - rng.random())[:questions]
    seen = full(scene)
    tree = Tree(_root(seen, tools=False), [])
    for q in asked:
        at = looks(scene, q, seen, len(_tokens(q.answer)), own=False)
        tree.branches.append(_answer(_ask(q), q, at, decision=0.05, weight=_weight(q), topic=f"{q.kind}_full"))
    return tree


def crop_tree(scene: Scene, rng: random.Random) -> Tree:
    """A crop alone, and the question that it answers: the cheapest way to learn to say what stands there."""
    question = rng.choice([q for q in scene.questions if q.kind == "fine"])
    box = asked_box(question.evidence, scene.image.size, _jitter(rng, 4, 24))
    seen = crop(scene, box, rng)
    at = looks(scene, question, seen, len(_tokens(question.answer)), own=False)
    branch = _answer(_ask(question), question, at, decision=0.05, weight=1.0, topic="fine_alone")
    return Tree(_root(seen, tools=False), [branch])


def part_tree(scene: Scene, rng: random.Random, *, questions: int) -> Tree:
    """A part of the scene, from one thing alone to most of it: what is found among few is later found among many."""
    near = [q for q in scene.questions if q.subject]
    subject = rng.choice(near).subject
    assert subject is not None
    box = _around(subject, scene.image.size, rng)
    half = rng.random() < 0.4
    tools = rng.random() < 0.4
    span = (box[2] - box[0], box[3] - box[1])
    scale = max(0.5 if half else 1.0, (64 * 64 / (span[0] * span[1])) ** 0.5)
    seen = window(scene, box, fit(span, scale), rng.choice(RESAMPLE), whole=False)
    tree = Tree(_root(seen, tools), [])
    inside = [q for q in near if q.subject and _holds(box, q.subject) and (tools or not half or q.kind == "coarse")]
    for question in rng.sample(inside, min(questions, len(inside))):
        lost = half and question.kind == "fine"
        if tools and (lost or rng.random() < CALLS):
            x0, y0, x1, y1 = question.evidence
            evidence = (x0 - box[0], y0 - box[1], x1 - box[0], y1 - box[1])
            asked = asked_box(evidence, span, (CROP_MARGIN,) * 4)
            at = looks(scene, question, seen, 4, own=False)
            branch = _call(_ask(question), "zoom_crop", asked, at, weight=1.0, decision=0.0 if lost else OPEN)
            branch.topic = "part_box"
        else:
            at = looks(scene, question, seen, len(_tokens(question.answer)), own=False)
            decision = OPEN if tools else 0.05
            topic = f"part_{question.kind}"
            branch = _answer(_ask(question), question, at, decision=decision, weight=_weight(question), topic=topic)
        tree.branches.append(branch)
    return tree


def _around(subject: Rect, size: tuple[int, int], rng: random.Random) -> Rect:
    """A box of whole pixels that holds `subject`, of anything between its size and three quarters of the picture."""
    sides = []
    for low, high, side in ((subject[0], subject[2], size[0]), (subject[1], subject[3], size[1])):
        length = min(side, max(high - low + 6, rng.uniform(0.2, 0.75) * side))
        start = rng.uniform(max(0, high + 2 - length), min(side - length, max(0, low - 2)))
        sides.append((round(max(0, start)), round(min(side, start + length))))
    (x0, x1), (y0, y1) = sides
    return x0, y0, x1, y1


def _holds(box: Rect, inner: Rect) -> bool:
    return box[0] <= inner[0] + 2 and box[1] <= inner[1] + 2 and box[2] >= inner[2] - 2 and box[3] >= inner[3] - 2


@dataclass(frozen=True)
class Mix:
    """What an answering lesson is made of (trees a step)."""

    crops: int
    glances: int
    fulls: int
    questions: int = 8
    second: int = 3
    groups: int = 1  # of wide trees of like length: less padding
    parts: int = 0

    def __call__(self, rng: random.Random) -> list[Lesson]:
        trees = [crop_tree(draw_scene(rng, "train"), rng) for _ in range(self.crops)]
        wide = [
            glance_tree(draw_scene(rng, "train"), rng, questions=self.questions, second=self.second)
            for _ in range(self.glances)
        ]
        wide += [full_tree(draw_scene(rng, "train"), rng, questions=self.questions + 4) for _ in range(self.fulls)]
        wide += [part_tree(draw_scene(rng, "train"), rng, questions=6) for _ in range(self.parts)]
        wide = [tree for tree in wide if tree.branches]
        wide.sort(key=lambda tree: len(tree.root.ids) + sum(len(branch.ids) for branch in tree.branches))
        size = -(-len(wide) // self.groups)
        return [weave(group) for group in (trees, *(wide[i : i + size] for i in range(0, len(wide), size))) if group]
