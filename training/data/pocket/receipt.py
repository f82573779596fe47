"""A till receipt: a logo, rows of items with prices, and the total, which is the sum of the rows."""

from __future__ import annotations

import random

from .ink import COLORS, Rect, Scene, Sheet, Split, hull, ink_for, pick_number, pick_pairs, reserved, text_size

WORDS = (
    "BREAD", "MILK", "EGGS", "TEA", "RICE", "SOAP", "PEARS", "PLUMS", "SALT", "JAM", "OATS", "CORN", "FISH", "HAM",
    "LEMON", "ONION", "PASTA", "SUGAR", "HONEY", "BEANS", "COCOA", "NUTS", "LEEK", "TOFU", "YEAST", "CAKE",
)  # fmt: skip


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _prices(rng: random.Random, n: int, split: Split) -> list[int]:
    while True:
        prices = [pick_number(rng, 45, 1899 if rng.random() < 0.4 else 999, split) for _ in range(n)]
        if split == "heldout" or not reserved(sum(prices)):
            return prices


def draw(rng: random.Random, size: tuple[int, int], split: Split) -> Scene:
    """A receipt on a desk, on `size` pixels (width, height)."""
    desk = rng.randint(60, 170)
    sheet = Sheet("receipt", size, (desk, desk - rng.randint(0, 25), desk - rng.randint(10, 45)), rng)
    width, height = size
    x0, x1 = rng.uniform(4, width * 0.12), width - rng.uniform(4, width * 0.12)
    shade = rng.randint(238, 255)
    page = (shade, shade, shade - rng.randint(0, 10))
    sheet.draw.rectangle((x0, 3, x1, height - 3), fill=page)
    ink = ink_for(page, rng)
    (color, shape), *_ = pick_pairs(rng, 1, split)
    side = rng.uniform(20, 26)
    logo_x = rng.choice((x0 + 6, (x0 + x1 - side) / 2, x1 - side - 6))
    logo = (logo_x, 8.0, logo_x + side, 8.0 + side)
    sheet.shape(shape, logo, sheet.tint(color))
    sheet.region(logo, color=color, shape=shape)
    font = text_size(rng)
    pitch = rng.uniform(font * 1.35, 19.0)
    top = 8 + side + rng.uniform(4, 8)
    most = int((height - top - pitch * 1.6 - 10) / pitch)
    n = rng.randint(2, max(2, min(7, most)))
    prices = _prices(rng, n, split)
    bold = rng.random() < 0.25
    boxes: list[Rect] = []
    for i, (word, price) in enumerate(zip(rng.sample(WORDS, n), prices, strict=True)):
        y = top + i * pitch
        sheet.text((x0 + 6, y), word, font, ink, bold=bold)
        boxes.append(sheet.text((x1 - 6, y), _money(price), font, ink, anchor="right", bold=bold))
    line = top + n * pitch + 2
    sheet.draw.line((x0 + 5, line, x1 - 5, line), fill=ink)
    total_word = sheet.text((x0 + 6, line + 4), "TOTAL", font, ink, bold=True)
    total = sheet.text((x1 - 6, line + 4), _money(sum(prices)), font, ink, anchor="right", bold=bold)
    sheet.ask("What is the total?", _money(sum(prices)), "fine", total, hull([total_word, total]))
    sheet.ask("What is the price of the first item?", _money(prices[0]), "fine", boxes[0])
    sheet.ask("What is the price of the last item?", _money(prices[-1]), "fine", boxes[-1])
    sheet.ask("How many items are on the receipt?", str(n), "coarse", (x0, top, x1, line))
    sheet.ask("What color is the logo?", color, "coarse", logo, logo)
    sheet.ask("What shape is the logo?", shape, "coarse", logo, logo)
    left = height - 3 - (line + 4 + font * 1.3)
    stamped = left > 26 and rng.random() < 0.6
    if stamped:
        r = min(left - 6, rng.uniform(20, 30))
        cx, cy = rng.uniform(x0 + r, x1 - r), line + 4 + font * 1.3 + left / 2
        ring = (cx - r / 2, cy - r / 2, cx + r / 2, cy + r / 2)
        stamp = rng.choice([name for name in COLORS if name != color])
        sheet.draw.ellipse(ring, outline=sheet.tint(stamp), width=5)
        sheet.region(ring, color=stamp)
        sheet.ask("What color is the stamp?", stamp, "coarse", ring, ring)
    sheet.ask("Is there a stamp on the receipt?", "yes" if stamped else "no", "coarse", (x0, 3, x1, height - 3))
    return sheet.finish()
