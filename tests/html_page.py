"""A page as the tests of pages read it."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = ("meta", "img", "input")  # tags that have no end


class Page(HTMLParser):
    """The links, plots and ids of a page, and whether its tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.plots: list[str] = []
        self.all_ids: list[str] = []
        self.cards: list[set[str]] = []
        self.titles: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    @property
    def ids(self) -> set[str]:
        return set(self.all_ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        classes = given.get("class", "").split()
        self.links += [given["href"]] if tag == "a" else []
        self.plots += classes[1:] if "plot" in classes else []
        self.all_ids += [given["id"]] if "id" in given else []
        self.cards += [set(classes)] if "card" in classes else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["figcaption"]:
            self.titles.append(data)
