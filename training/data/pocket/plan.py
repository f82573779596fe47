"""A floor plan: coloured rooms with walls, a label in fine print in each, and a pin in one of them."""

from __future__ import annotations

import random

from .ink import COLORS, Rect, Scene, Sheet, Split, corner_of, hull, ink_for, paper, pick_code, text_size


def _rooms(rng: random.Random, area: Rect, n: int) -> list[Rect]:
    """Cuts `area` into n rooms, always the largest one next, along its longer side."""
    rooms = [area]
    while len(rooms) < n:
        rooms.sort(key=lambda b: (b[2] - b[0]) * (b[3] - b[1]))
        x0, y0, x1, y1 = rooms.pop()
        at = rng.uniform(0.36, 0.64)
        if x1 - x0 > y1 - y0:
            x = x0 + (x1 - x0) * at
            rooms += [(x0, y0, x, y1), (x, y0, x1, y1)]
        else:
            y = y0 + (y1 - y0) * at
            rooms += [(x0, y0, x1, y), (x0, y, x1, y1)]
    rng.shuffle(rooms)
    return rooms


def _area(box: Rect) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def draw(rng: random.Random, size: tuple[int, int], split: Split) -> Scene:
    """A floor plan on `size` pixels (width, height)."""
    background = paper(rng)
    sheet = Sheet("plan", size, background, rng)
    width, height = size
    area = (rng.uniform(4, 14), rng.uniform(4, 14), width - rng.uniform(4, 14), height - rng.uniform(4, 14))
    while True:
        n = rng.randint(3, 6)
        rooms = _rooms(rng, area, n)
        if all(b[2] - b[0] >= 42 and b[3] - b[1] >= 36 for b in rooms):
            break
    colors = rng.sample(list(COLORS), n)
    pinned = rng.randrange(n)
    by_area = sorted(range(n), key=lambda i: -_area(rooms[i]))
    largest = by_area[0] if _area(rooms[by_area[0]]) > 1.3 * _area(rooms[by_area[1]]) else None
    corners = [corner_of(((b[0] + b[2]) / 2, (b[1] + b[3]) / 2), size, margin=0.0) for b in rooms]
    wall = ink_for(background, rng)
    for i, (box, color) in enumerate(zip(rooms, colors, strict=True)):
        x0, y0, x1, y1 = box
        fill = sheet.tint(color)
        sheet.draw.rectangle(box, fill=fill, outline=wall, width=2)
        sheet.region(box, color=color)
        ink = ink_for(fill, rng)
        font = text_size(rng)
        text_y = rng.uniform(y0 + 4, y0 + 10) if i == pinned else rng.uniform(y0 + 4, y1 - font * 1.35 - 3)
        text_x = rng.uniform(x0 + 5, x1 - 5 - 3 * font * 0.68)
        code = pick_code(rng, split)
        label = sheet.text((text_x, text_y), code, font, ink, bold=rng.random() < 0.3)
        names = [f"{color} room"]
        if i == pinned:
            side = rng.uniform(13, min(18, y1 - label[3] - 5))
            px, py = rng.uniform(x0 + 4, x1 - side - 4), y1 - side - 3 if y1 - label[3] < 30 else label[3] + 4
            sheet.shape("star", (px, py, px + side, py + side), ink)
            names.append("room with the star")
            pin = (px - 6, py - 6, px + side + 6, py + side + 6)
            sheet.ask("What color is the room with the star?", color, "coarse", box, pin)
            corner = corner_of((px + side / 2, py + side / 2), size)
            if corner:
                sheet.ask("Where is the star?", corner, "coarse", (px, py, px + side, py + side))
        if i == largest:
            names.append("largest room")
            sheet.ask("What color is the largest room?", color, "coarse", box)
        if corners.count(corners[i]) == 1 and corner_of(((x0 + x1) / 2, (y0 + y1) / 2), size):
            names.append(f"{corners[i]} room")
            sheet.ask(f"What color is the {corners[i]} room?", color, "coarse", box)
        around = (label[0] - 6, label[1] - 6, label[2] + 6, label[3] + 6)
        for name in names:
            subject = around if name.startswith(color) else None
            if name.endswith("star"):
                subject = hull([around, pin])
            sheet.ask(f"What is the label of the {name}?", code, "fine", label, subject)
    # A door: a gap in the outer wall.
    gap = rng.uniform(area[0] + 12, area[2] - 30)
    sheet.draw.line((gap, area[3], gap + 14, area[3]), fill=background, width=3)
    sheet.ask("How many rooms are there?", str(n), "coarse", area)
    return sheet.finish()
