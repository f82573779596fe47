"""The pictures of a trace: each source with the numbered windows of its views, and each view as the model saw it.

All of them together stay within a number of bytes, whatever the source, and nothing is rendered larger than it is
shown: the page of a 48-megapixel photograph neither weighs nor costs much.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from .messages import Observation, Trajectory
from .page import mark, picture_uri
from .source import Source
from .view import Box, View

EMBEDDED_SIDE = 1024  # pixels: nobody reads more in a column of half a screen
SHOWN_SIDE = 480  # CSS pixels: what a view takes at most
SMALL_SIDE = 200  # CSS pixels: views are enlarged by whole numbers until the larger side has so many


@dataclass(frozen=True)
class Pictures:
    """The pictures of one trajectory. Without `sources` there are none: what is left says where they would be.

    `most`: bytes for all of them together, before base64; `prefix`: what the ids of the page begin with; `side`:
    pixels of a picture's larger side, at most; `tabbed`: whether the tabulator key stops at every window; `made`: those
    that were made already, for a page that is written again with every step.
    """

    trajectory: Trajectory
    sources: Sequence[Source] | None
    most: int
    prefix: str = ""
    side: int = EMBEDDED_SIDE
    tabbed: bool = True
    made: dict[View, str] = field(default_factory=dict)

    def sources_html(self) -> str:
        """Every picture as the user gave it, with the window of every view drawn and numbered."""
        count = len(self.trajectory.sources)
        return f'<div class="sources" style="--pictures:{count}">{"".join(map(self._source, range(count)))}</div>'

    def drawing_html(self, index: int, title: str) -> str:
        """Source `index` with its numbered windows, where there are sources. `title`, its name, is HTML."""
        width, height = self.trajectory.sources[index].size
        whole = View.whole((width, height), source=index)
        # The image is a symbol, so that the small maps beside the views show it without a second copy.
        symbol = f"{self.prefix}source{index}"
        return (
            f'<svg viewBox="0 0 {width} {height}" role="group" aria-label="{title}, with what the model was shown">'
            f'<symbol id="{symbol}" viewBox="0 0 {width} {height}">'
            f'<image width="{width}" height="{height}" preserveAspectRatio="none" href="{self._uri(whole)}"'
            f'{_pixelated(width, SHOWN_SIDE)}/></symbol><use href="#{symbol}" width="{width}" '
            f'height="{height}" role="img" aria-label="{title}"/>{"".join(self._windows(index))}</svg>'
        )

    def view_html(self, view: View, number: int) -> str:
        """The pixels that the model saw, and a small map of where on the picture they are from."""
        if self.sources is None:
            return f'<p class="note">{_said(view)}</p>'
        longest = max(view.size)
        zoom = min(SHOWN_SIDE / longest, -(-SMALL_SIDE // longest))
        width, height = (max(1, round(side * zoom)) for side in view.size)
        name = f"{self.prefix}source{view.source}"
        full_width, full_height = view.source_size
        around = f"M0 0H{full_width}V{full_height}H0Z"
        box = view.box
        inside = f"M{box.x0:g} {box.y0:g}H{box.x1:g}V{box.y1:g}H{box.x0:g}Z"
        return (
            f'<figure><div class="seen"><img src="{self._uri(view)}" width="{width}" height="{height}"'
            f'{_pixelated(view.size[0], width)} alt="View {number} as the model saw it: {_place(view)}">'
            f'<svg viewBox="0 0 {full_width} {full_height}" role="img" aria-label="Its place on the picture">'
            f'<use href="#{name}" width="{full_width}" height="{full_height}"/>'
            f'<path class="shade" d="{around}{inside}"/>{_rect(box, "window")}</svg></div>'
            f'<figcaption class="note">{_said(view)}</figcaption></figure>'
        )

    def lit_css(self) -> str:
        """Rules by which a window and its view light up together, whichever of the two is pointed at."""
        numbers = range(1, len(self.trajectory.views) + 1)
        box, view = f"#{self.prefix}box", f"#{self.prefix}view"
        active = ":is(:hover, :target, :focus-within, :focus-visible)"
        windows = ", ".join(f":root:has({view}{n}{active}) {box}{n}, {box}{n}{active}" for n in numbers)
        views = ", ".join(f":root:has({box}{n}{active}) {view}{n}, {view}{n}:target" for n in numbers)
        return f"{windows} {{ --stroke: 5; --tint: .16; }}\n{views} {{ --ring: 3px; }}\n" if numbers else ""

    def _source(self, index: int) -> str:
        record = self.trajectory.sources[index]
        width, height = record.size
        name = escape(Path(record.label).name)
        title = f"Picture {index + 1}: {name}" if len(self.trajectory.sources) > 1 else name
        heading = f'<h2 dir="auto">{title}</h2>'
        size = f"{width:,} &times; {height:,} pixels."
        if self.sources is None:
            return f'<div class="source">{heading}<p class="note">{size}</p></div>'
        return (
            f'<div class="source">{heading}{self.drawing_html(index, title)}'
            f'<p class="note">{size} The numbered windows are what the model was shown.</p></div>'
        )

    def _windows(self, index: int) -> Iterator[str]:
        """The frame and number of each view of source `index`: a link to where it came up."""
        width, height = self.trajectory.sources[index].size
        side = max(0.06 * width, 0.04 * height)  # of a number's badge, in source pixels: alike on wide and tall ones
        corners: dict[tuple[int, int], int] = {}
        for number, (step, view) in enumerate(self._shown(), 1):
            if view.source != index:
                continue
            # Above its window, where there is room: a number hides nothing that was looked at.
            x0, y0 = min(view.box.x0, width - side), view.box.y0 - side if view.box.y0 >= side else view.box.y0
            corner = (round(x0 / side), round(y0 / side))
            shift = corners.get(corner, 0)  # windows that share a corner show their numbers side by side
            corners[corner] = shift + 1
            origin = escape(step.call.name) if step.call else "glance"
            title = f"View {number}: {origin}, {_place(view)}, {step.visual_tokens:,} visual tokens"
            kind = ' class="whole"' if view.is_whole else ""
            stop = "" if self.tabbed else ' tabindex="-1"'
            link = f'id="{self.prefix}box{number}" href="#{self.prefix}view{number}"'
            yield (
                f'<a {link}{stop} style="--mark:{mark(number)}"{kind}>'
                f"<title>{title}</title>{_rect(view.box, 'halo')}{_rect(view.box, 'window')}"
                f'<g class="badge" transform="translate({x0 + 1.12 * shift * side:g} {y0:g}) scale({side:g})">'
                f'<rect width="1" height="1" rx=".15"/><text x=".5" y=".75">{number}</text></g></a>'
            )

    def _shown(self) -> Iterator[tuple[Observation, View]]:
        for step in self.trajectory.observations:
            if step.view is not None:
                yield step, step.view

    def _uri(self, view: View) -> str:
        """The pixels of a view, at most `side` a side and within its share of the bytes."""
        assert self.sources is not None
        if view in self.made:
            return self.made[view]
        scale = min(1.0, self.side / max(view.size))
        size = (max(1, round(view.size[0] * scale)), max(1, round(view.size[1] * scale)))
        shares = len(self.trajectory.views) + len(self.sources)
        self.made[view] = picture_uri(view.resized(size).render(self.sources[view.source]), self.most // shares)
        return self.made[view]


def _said(view: View) -> str:
    """A view in words."""
    width, height = view.size
    detail = view.detail
    # A window is rounded to whole patches: a detail this near to the source's is the source's.
    size = "full detail" if 0.98 < detail < 1.02 else f"{detail:.0%} of the detail"
    if detail >= 1.02:
        size = f"enlarged {detail:.1f} times"
    turned = f", turned {view.rotation}° clockwise" if view.rotation else ""
    contrast = f", contrast {view.contrast:g} times" if view.contrast != 1 else ""
    return f"{width:,} &times; {height:,} pixels, {size}, {_place(view)}{turned}{contrast}"


def _place(view: View) -> str:
    box = view.box
    if view.is_whole:
        return "the whole picture"
    return f"from ({box.x0:.0f}, {box.y0:.0f}) to ({box.x1:.0f}, {box.y1:.0f})"


def _rect(box: Box, kind: str) -> str:
    return f'<rect class="{kind}" x="{box.x0:g}" y="{box.y0:g}" width="{box.width:g}" height="{box.height:g}"/>'


def _pixelated(width: float, shown: float) -> str:
    """Blur would hide what little detail there is: enlarged pixels stay square."""
    return ' class="pixelated"' if shown >= 1.5 * width else ""
