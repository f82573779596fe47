"""Whoever may write in a root of the MCP server cannot lead it outside, not even between its check and its look."""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio
import pytest
from endpoint_agent import RECEIPT
from endpoints import serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentic_vision.errors import ImageError
from agentic_vision.url_rules import UrlRules

pytest.importorskip("mcp", reason="needs the extra: pip install 'agentic-vision[mcp]'")

from agentic_vision.mcp.roots import Roots


class Swapped(Roots):
    """Just after a path was checked, `swap` becomes a link to `outside`."""

    swap: Path
    outside: Path

    def _inside(self, path, label):
        found = super()._inside(path, label)
        self.swap.rename(self.swap.with_name("gone"))
        self.swap.symlink_to(self.outside)
        return found


@pytest.mark.parametrize("swap", ["a", "a/b", "a/b/c.png"])
@pytest.mark.parametrize("roots", [["."], ["a/b", "."]])
def test_a_link_that_is_put_there_after_the_check_is_not_followed(tmp_path: Path, swap: str, roots: list[str]) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "a" / "b", outside / "b"):
        folder.mkdir(parents=True)
    for place in (root / "a" / "b" / "c.png", outside / "b" / "c.png", outside / "c.png"):
        shutil.copy(RECEIPT, place)
    checked = Swapped([root / name for name in roots])
    checked.swap = root / swap
    checked.outside = outside / "c.png" if swap.endswith(".png") else outside if swap == "a" else outside / "b"
    with pytest.raises(ImageError, match="cannot be read"):
        checked.open(str(root / "a" / "b" / "c.png"))
    assert (root / swap).exists()


def test_a_folder_that_may_be_entered_need_not_be_listed(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    shutil.copy(RECEIPT, inner)
    (tmp_path / "link").symlink_to(inner)
    inner.chmod(0o311)
    try:
        assert Roots([tmp_path]).open("link/receipt.png")[0].size == (160, 192)
        assert Roots([inner]).open("receipt.png")[0].size == (160, 192)
    finally:
        inner.chmod(0o755)


def test_what_is_fetched_has_the_limit_of_what_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def image(_: Request) -> Response:
        return Response(RECEIPT.read_bytes(), media_type="image/png")

    rules = UrlRules(allow=("127.0.0.1",))
    with serving(Starlette(routes=[Route("/v1/a.png", image)])) as url:
        roots = Roots([tmp_path], rules)
        assert anyio.run(roots.aopen, f"{url}/a.png")[0].size == (160, 192)
        monkeypatch.setenv("AGENTIC_VISION_MAX_IMAGE_BYTES", "1000")
        with pytest.raises(ImageError, match="has more than 1,000 bytes"):
            anyio.run(Roots([tmp_path], rules).aopen, f"{url}/a.png")
