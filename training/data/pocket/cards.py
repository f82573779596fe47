"""Cards on a table: each of its own colour, with a shape and a number in fine print."""

from __future__ import annotations

import random

from .ink import Rect, Scene, Sheet, Split, corner_of, ink_for, paper, pick_number, pick_pairs, text_size


def draw(rng: random.Random, size: tuple[int, int], split: Split) -> Scene:
    """A table with three to six cards, on `size` pixels (width, height)."""
    sheet = Sheet("cards", size, paper(rng), rng)
    width, height = size
    columns, rows = (3, 2) if width > height else (2, 3) if height > width else rng.choice(((3, 2), (2, 3)))
    n = rng.randint(3, columns * rows)
    pairs = pick_pairs(rng, n, split)
    cells = rng.sample([(c, r) for c in range(columns) for r in range(rows)], n)
    cell_w, cell_h = width / columns, height / rows
    boxes: list[Rect] = []
    for (color, shape), (column, row) in zip(pairs, cells, strict=True):
        w = rng.uniform(max(46, cell_w * 0.66), cell_w - 6)
        h = rng.uniform(max(44, cell_h * 0.55), min(cell_h - 6, w * 1.3))
        x = column * cell_w + rng.uniform(3, cell_w - w - 3)
        y = row * cell_h + rng.uniform(3, cell_h - h - 3)
        box = (x, y, x + w, y + h)
        boxes.append(box)
        fill = sheet.tint(color)
        sheet.draw.rounded_rectangle(box, radius=rng.choice((0, 4, 8)), fill=fill)
        sheet.region(box, color=color)
        ink = ink_for(fill, rng)
        side = rng.uniform(17, min(24, h * 0.48))
        text_top = rng.random() < 0.3
        shape_x = x + rng.uniform(5, w - side - 5)
        shape_y = y + h - side - 4 if text_top else y + 4
        sheet.shape(shape, (shape_x, shape_y, shape_x + side, shape_y + side), ink)
        font = text_size(rng)
        number = str(pick_number(rng, 100, 9999 if rng.random() < 0.3 else 999, split))
        room = w - 8 - len(number) * font * 0.62
        top = y + rng.uniform(1, 4) if text_top else y + h - font * 1.25 - rng.uniform(0, 3)
        place = (x + 4 + rng.uniform(0, max(0.0, room)), top)
        evidence = sheet.text(place, number, font, ink, bold=rng.random() < 0.3, spacing=rng.choice((0, 0, 0.5, 1)))
        corner = corner_of((x + w / 2, y + h / 2), size)
        fine = [f"What number is on the {color} card?", f"What number is on the card with the {shape}?"]
        sheet.ask(f"What shape is on the {color} card?", shape, "coarse", box, box)
        sheet.ask(f"What color is the card with the {shape}?", color, "coarse", box, box)
        if corner:
            sheet.ask(f"Where is the {color} card?", corner, "coarse", box)
            alone = sum(corner_of(((b[0] + b[2]) / 2, (b[1] + b[3]) / 2), size) == corner for b in boxes) == 1
            if alone and n <= 4:
                # Cards drawn later may share the corner: kept only if none does (checked below).
                fine.append(f"What number is on the {corner} card?")
                sheet.ask(f"What color is the {corner} card?", color, "coarse", box)
        for text in fine:
            sheet.ask(text, number, "fine", evidence, None if corner and corner in text else box)
    sheet.ask("How many cards are there?", str(n), "coarse", (0, 0, width, height))
    scene = sheet.finish()
    taken = [corner_of(((b[0] + b[2]) / 2, (b[1] + b[3]) / 2), size, margin=0.0) for b in boxes]
    shared = {corner for corner in taken if corner and taken.count(corner) > 1}
    scene.questions = [q for q in scene.questions if not any(f"the {corner} card" in q.text for corner in shared)]
    return scene
