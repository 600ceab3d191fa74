"""Links that leave docs/: right on a forge as they are, and made right for the site here."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["Repository"]

_LINK = re.compile(r"(?<!!)\[((?:`[^`]*`|[^\[\]])+)\]\(([^()\s#:]+)(#[^()\s]*)?\)")
_TAKES = re.compile(r"^<!-- site: (\S+\.md) -->$", re.MULTILINE)


class Repository:
    """The checkout that the pages belong to.

    A page that has the line `<!-- site: ../../NAME.md -->` is that file on the site. There a link
    to such a file leads to the page, and a link to another file of the repository to the forge,
    or where none is known, is the file's path.

    Args:
        docs: The folder of the pages, in the root of the checkout.
        url: The checkout's address on a forge; empty where it has none.
    """

    def __init__(self, docs: str | Path, url: str = "") -> None:
        self._docs = Path(docs).resolve()
        self._root = self._docs.parent
        self._url = url.rstrip("/")
        self._pages = {
            (page.parent / taken[1]).resolve(): page
            for page in self._docs.rglob("*.md")
            if (taken := _TAKES.search(page.read_text()))
        }

    def page(self, name: str, text: str) -> tuple[str, list[Path]]:
        """What the site shows as the page `name`, and the files that it was taken from."""
        page = self._docs / f"{name}.md"
        taken = _TAKES.search(text)
        if taken is None:
            return self._linked(text, page, page), []
        source = (page.parent / taken[1]).resolve()
        return self._linked(source.read_text(), source, page), [source]

    def _linked(self, text: str, written_in: Path, shown_on: Path) -> str:
        def link(found: re.Match[str]) -> str:
            label, path, anchor = found[1], found[2], found[3] or ""
            target = (written_in.parent / path).resolve()
            if not target.exists():
                return found[0]  # the generator warns of it
            target = self._pages.get(target, target)
            if target.is_relative_to(self._docs):
                return f"[{label}]({os.path.relpath(target, shown_on.parent)}{anchor})"
            return self._elsewhere(label, target.relative_to(self._root), anchor)

        fenced = text.split("```")
        fenced[::2] = [_LINK.sub(link, part) for part in fenced[::2]]
        return "```".join(fenced)

    def _elsewhere(self, label: str, path: Path, anchor: str) -> str:
        if self._url:
            kind = "tree" if (self._root / path).is_dir() else "blob"
            return f"[{label}]({self._url}/{kind}/main/{path}{anchor})"
        if label.strip("`") in (str(path), path.name):
            return f"`{path}`"
        return f"{label} (`{path}`)"
