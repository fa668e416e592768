"""A report of a small run, read back: for tests of what it shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from envs.files import read_json, write_json
from experiments.report import write_report

VOID = {"meta", "link", "br", "hr", "img", "input"}


class PageReader(HTMLParser):
    """Reads a page: the tags that do not pair up, its links, ids and what it says."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag not in ("mark", "b", "del"):
            self.words.append(" ")
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).replace("\u00a0", " ").split())


def report_of(run: Path) -> str:
    out = run.parent / "report.html"
    write_report(run, out)
    return out.read_text(encoding="utf-8")


def well_formed(html: str) -> PageReader:
    page = PageReader(html)
    assert page.wrong == []
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    return page


def alter(run: Path, file: str, change: Callable[[Any], None]) -> None:
    value = read_json(run / file)
    change(value)
    write_json(run / file, value)


# --- The whole page ---------------------------------------------------------------------------
