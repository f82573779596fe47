"""What does decoding a JPEG at a DCT scale save? A glance at a 48-megapixel photograph, both ways.

    python benchmarks/glance_decode.py [--repeats 5]

Each way runs in processes of its own: time is processor time, the median over the repeats; memory is the peak
of the process above what it held before it opened the file (resource.getrusage, so POSIX only). The
photograph is made on the spot: smooth shapes with fine noise, 8064 x 6048 pixels at quality 90, as a
telephone would store it. The glance has a quarter of the visual tokens that Qwen2.5-VL gives the image at
full resolution. The bar is a third of the time and of the memory.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table

from agentic_vision import Source, View, family

SIZE = (8064, 6048)
BAR = 1 / 3


def photograph(path: Path) -> None:
    """Writes a JPEG with some detail everywhere: its entropy coding costs what a photograph's does."""
    shapes = Image.merge(
        "RGB", [Image.radial_gradient("L"), Image.linear_gradient("L"), Image.linear_gradient("L").rotate(90)]
    ).resize(SIZE, Image.Resampling.BICUBIC)
    noise = Image.effect_noise(SIZE, 40).convert("RGB")
    Image.blend(shapes, noise, 0.12).save(path, "JPEG", quality=90)


def draft(path: Path, size: tuple[int, int]) -> Image.Image:
    """Our way: the source decodes no more than the glance needs."""
    source = Source.open(path)
    return View.whole(source.size, size).render(source)


def whole(path: Path, size: tuple[int, int]) -> Image.Image:
    """The plain way: decode everything, then resize."""
    with Image.open(path) as image:
        return image.convert("RGB").resize(size, Image.Resampling.BICUBIC)


WAYS = {"draft": draft, "whole": whole}


def measure(way: str, path: Path, size: tuple[int, int]) -> dict[str, float]:
    """Seconds and bytes of one look, in this very process."""
    Image.init()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    assert WAYS[way](path, size).size == size
    seconds = time.process_time() - start
    unit = 1 if sys.platform == "darwin" else 1024
    return {"seconds": seconds, "bytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", nargs=4, metavar=("WAY", "PATH", "WIDTH", "HEIGHT"), help=argparse.SUPPRESS)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        photograph(options.make)
        return
    if options.one:
        way, path, width, height = options.one
        print(json.dumps(measure(way, Path(path), (int(width), int(height)))))
        return

    table = Table(title=f"{SIZE[0] * SIZE[1] / 1e6:.0f}-megapixel JPEG")
    for column in ("glance", "way", "ms", "peak MB", "of the time", "of the memory", f"<= {BAR:.2f}"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photograph.jpg"
        # In a process of its own too: a child's peak starts at what its parent held.
        subprocess.run([sys.executable, __file__, "--make", str(path)], check=True)
        for name in ("qwen2.5-vl", "qwen3-vl", "openai-tiles"):
            size = family(name).glance(SIZE).size
            figures = {way: repeated(way, path, size, options.repeats) for way in WAYS}
            ratios = [figures["draft"][i] / figures["whole"][i] for i in (0, 1)]
            for way, (seconds, peak) in figures.items():
                extra = [f"{ratio:.2f}" for ratio in ratios] + ["met" if max(ratios) <= BAR else "missed"]
                shown = extra if way == "draft" else ["", "", ""]
                label = f"{name} {size[0]} x {size[1]}" if way == "draft" else ""
                table.add_row(label, way, f"{seconds * 1e3:.0f}", f"{peak / 1e6:.0f}", *shown)
    Console(width=110).print(table)


def repeated(way: str, path: Path, size: tuple[int, int], repeats: int) -> tuple[float, float]:
    """Median seconds and bytes over fresh processes."""
    runs = []
    for _ in range(repeats):
        command = [sys.executable, __file__, "--one", way, str(path), str(size[0]), str(size[1])]
        runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return statistics.median(run["seconds"] for run in runs), statistics.median(run["bytes"] for run in runs)


if __name__ == "__main__":
    main()
