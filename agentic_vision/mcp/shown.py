"""Which views was a client shown? Each has a name, by which a later call looks at it: a zoom into a zoom.

The names are a client's own: "view 3" of one session is unknown in another. A client without a session (HTTP since
MCP 2026-07-28 has none) is known by nothing but the names that it gives, so these cannot be guessed.
"""

from __future__ import annotations

import secrets
import weakref
from collections import OrderedDict
from dataclasses import dataclass

from ..errors import ImageError
from ..source import KEEP_PIXELS, Source
from ..view import View

MOST_CLIENTS = 64  # the one that was not heard for the longest goes
MOST_VIEWS = 256  # of a client; of all clients without a session together
MOST_BYTES = 512 * 2**20  # of images, files and decoded pixels, of all clients together
LEAST_BYTES = 4096  # that an image takes, however small its file


@dataclass(frozen=True)
class Shown:
    """A view that was shown, and its image, for as long as that is kept."""

    view: View
    image: weakref.ref[Source]


class ShownViews:
    """What clients were shown, and may look at again. A client is its session's id; None is one without."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str | None, _Album] = OrderedDict()
        self._images: OrderedDict[Source, int] = OrderedDict()  # and what each may take, in bytes
        self._bytes = 0  # of all of them

    def keep(self, image: Source, size: int) -> None:
        """Keep an image, whose file has `size` bytes, until there is no room for it."""
        pixels = image.size[0] * image.size[1]
        takes = LEAST_BYTES + size + (3 * pixels if pixels <= KEEP_PIXELS else 0)
        self._bytes += takes - self._images.get(image, 0)
        self._images[image] = takes
        while self._bytes > MOST_BYTES and len(self._images) > 1:
            self._bytes -= self._images.popitem(last=False)[1]

    def add(self, client: str | None, view: View, image: Source) -> str:
        """The name under which the view can be found."""
        album = self._clients.setdefault(client, _Album())
        self._clients.move_to_end(client)
        while len(self._clients) > MOST_CLIENTS:
            self._clients.popitem(last=False)
        album.added += 1
        name = f"view {secrets.token_hex(8) if client is None else album.added}"
        album.views[name] = Shown(view, weakref.ref(image))
        while len(album.views) > MOST_VIEWS:
            album.views.popitem(last=False)
        return name

    def find(self, client: str | None, name: str) -> tuple[View, Source]:
        """The view of this name, and its image. Raises `ImageError` where it is unknown or no longer kept."""
        shown = self._views(client).get(name)
        image = shown.image() if shown else None
        if shown is None or image is None or image not in self._images:
            raise ImageError(f"there is no {name}, or it was shown too long ago: glance at the image again")
        self._clients.move_to_end(client)
        self._images.move_to_end(image)
        return shown.view, image

    def of(self, client: str | None, image: Source) -> tuple[View, ...]:
        """All views of an image that the client was shown, in order."""
        return tuple(shown.view for shown in self._views(client).values() if shown.image() is image)

    def _views(self, client: str | None) -> OrderedDict[str, Shown]:
        album = self._clients.get(client)
        return album.views if album else OrderedDict()


class _Album:
    """The views of one client, by name, in order."""

    def __init__(self) -> None:
        self.views: OrderedDict[str, Shown] = OrderedDict()
        self.added = 0
