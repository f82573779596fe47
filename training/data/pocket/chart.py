"""A bar chart: coloured bars with values above, labels below, tick labels at the axis."""

from __future__ import annotations

import random

from .ink import COLORS, Rect, Scene, Sheet, Split, hull, ink_for, paper, pick_code, reserved, text_size


def _values(rng: random.Random, n: int, top: int, split: Split) -> list[int]:
    """n three-digit values up to `top`, the largest and smallest clearly so, none reserved in train."""
    while True:
        values = [rng.randint(max(100, top // 6), top) for _ in range(n)]
        ranked = sorted(values)
        apart = top * 0.09
        if ranked[-1] < top * 0.7 or ranked[-1] - ranked[-2] < apart or ranked[1] - ranked[0] < apart:
            continue
        if any(reserved(v) for v in values) == (split == "heldout"):
            return values


def draw(rng: random.Random, size: tuple[int, int], split: Split) -> Scene:
    """A bar chart on `size` pixels (width, height)."""
    background = paper(rng)
    sheet = Sheet("chart", size, background, rng)
    width, height = size
    ink = ink_for(background, rng)
    n = rng.randint(3, 5 if width < 190 else 6)
    colors = rng.sample(list(COLORS), n)
    top = rng.choice((400, 500, 600, 800, 900, 990))
    values = _values(rng, n, top, split)
    font, tick_font = text_size(rng), 10.0
    left, bottom, ceiling = 28.0, height - 22.0, 26.0
    sheet.draw.line((left, ceiling - 12, left, bottom), fill=ink)
    sheet.draw.line((left, bottom, width - 4, bottom), fill=ink)
    scale = (bottom - ceiling) / top
    for i in range(1, 4):
        tick = top * i // 3  # never an answer, and so also a reserved one
        y = bottom - tick * scale
        sheet.draw.line((left - 3, y, left, y), fill=ink)
        sheet.text((left - 5, y - 7), str(tick), tick_font, ink, anchor="right")
    slot = (width - left - 8) / n
    bold = rng.random() < 0.3
    tallest, shortest = values.index(max(values)), values.index(min(values))
    boxes: list[Rect] = []
    for i, (color, value) in enumerate(zip(colors, values, strict=True)):
        bar_w = slot * rng.uniform(0.62, 0.85)
        middle = left + 5 + slot * (i + 0.5)
        bar = (middle - bar_w / 2, bottom - value * scale, middle + bar_w / 2, bottom - 1)
        sheet.draw.rectangle(bar, fill=sheet.tint(color))
        sheet.region(bar, color=color)
        value_box = sheet.text((middle, bar[1] - font * 1.2), str(value), font, ink, anchor="middle", bold=bold)
        code = pick_code(rng, split)
        code_box = sheet.text((middle, bottom + rng.uniform(2, 5)), code, font, ink, anchor="middle", bold=bold)
        boxes.append(hull([bar, value_box, code_box]))
        names = [f"{color} bar"]
        names += ["tallest bar"] * (i == tallest) + ["shortest bar"] * (i == shortest)
        top_end = hull([value_box, (bar[0], bar[1], bar[2], min(bar[1] + 14, bottom))])
        foot = hull([code_box, (bar[0], max(bar[1], bottom - 14), bar[2], bottom)])
        for name in names:
            named = name.startswith(color)
            sheet.ask(f"What is the value of the {name}?", str(value), "fine", value_box, top_end if named else None)
            sheet.ask(f"What is the label of the {name}?", code, "fine", code_box, foot if named else None)
    whole = hull(boxes)
    sheet.ask("How many bars are there?", str(n), "coarse", whole)
    sheet.ask("What color is the tallest bar?", colors[tallest], "coarse", boxes[tallest])
    sheet.ask("What color is the shortest bar?", colors[shortest], "coarse", boxes[shortest])
    sheet.ask("What color is the first bar?", colors[0], "coarse", boxes[0])
    sheet.ask("What color is the last bar?", colors[-1], "coarse", boxes[-1])
    a, b = rng.sample(range(n), 2)
    if abs(values[a] - values[b]) > top * 0.12:
        larger = colors[a] if values[a] > values[b] else colors[b]
        text = f"Which bar is taller, the {colors[a]} one or the {colors[b]} one?"
        sheet.ask(text, larger, "coarse", hull([boxes[a], boxes[b]]))
    return sheet.finish()
