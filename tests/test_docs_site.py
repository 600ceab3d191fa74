"""What the docs site makes of pages that are written for a forge."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.docs_site.command_line import with_commands
from tools.docs_site.links import Repository

from thenodes_cli.app import app

ROOT = Path(__file__).parent.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a page, a page that is a file of the root, and an example."""
    (tmp_path / "docs" / "how-to").mkdir(parents=True)
    (tmp_path / "examples" / "chat").mkdir(parents=True)
    (tmp_path / "MAP.md").write_text("# Map\n\n[a chat](examples/chat), [A](docs/how-to/a.md)\n")
    (tmp_path / "docs" / "how-to" / "a.md").write_text("# A\n")
    (tmp_path / "docs" / "map.md").write_text("# Map\n\n<!-- site: ../MAP.md -->\n")
    return tmp_path


def test_a_link_between_pages_stays(checkout: Path) -> None:
    text = "[a](how-to/a.md#top), [site](https://example.org), [here](#there)"

    assert Repository(checkout / "docs").page("index", text) == (text, [])


def test_a_link_to_a_file_that_is_on_the_site_leads_to_its_page(checkout: Path) -> None:
    text, _ = Repository(checkout / "docs").page("how-to/a", "[the map](../../MAP.md#map)")

    assert text == "[the map](../map.md#map)"


def test_a_page_may_be_a_file_of_the_root_whose_links_are_from_there(checkout: Path) -> None:
    page = (checkout / "docs" / "map.md").read_text()

    text, taken = Repository(checkout / "docs").page("map", page)

    assert text == "# Map\n\na chat (`examples/chat`), [A](how-to/a.md)\n"
    assert taken == [checkout / "MAP.md"]


@pytest.mark.parametrize(
    ("url", "becomes"),
    [
        ("", "`examples/chat`"),
        ("https://forge.example/t", "[chat](https://forge.example/t/tree/main/examples/chat)"),
    ],
)
def test_a_link_that_leaves_the_docs_leads_to_the_forge_or_is_a_path(
    checkout: Path, url: str, becomes: str
) -> None:
    text, _ = Repository(checkout / "docs", url).page("index", "[chat](../examples/chat)")

    assert text == becomes


def test_a_link_to_nothing_is_left_for_the_generator_to_warn_of(checkout: Path) -> None:
    text = "[gone](../examples/gone)"

    assert Repository(checkout / "docs").page("index", text)[0] == text


def test_what_looks_like_a_link_in_code_stays(checkout: Path) -> None:
    text = "```\n[chat](../examples/chat)\n```"

    assert Repository(checkout / "docs").page("index", text)[0] == text


def test_the_page_of_the_command_line_has_every_command() -> None:
    page = with_commands((ROOT / "docs" / "reference" / "cli.md").read_text())

    for name in app.list_commands(None):  # type: ignore[arg-type]
        assert f"\n### thenodes {name}\n" in page
    assert "\n#### thenodes trust promote\n" in page
    assert "--drain-seconds" in page


NAMED = re.compile(r"\bdocs/[\w./-]+\.md\b")


def test_every_page_that_code_names_is_there() -> None:
    named = {
        (page, path.relative_to(ROOT).as_posix())
        for kind in ("*.py", "*.toml", "*.html", "*.md")
        for folder in ("packages", "examples", "templates", "tests", "deploy", "tools")
        for path in (ROOT / folder).rglob(kind)
        if ".venv" not in path.parts
        for page in NAMED.findall(path.read_text(errors="replace"))
    } - {("docs/how-to/a.md", "tests/test_docs_site.py")}

    assert [named_in for page, named_in in named if not (ROOT / page).exists()] == []


def test_the_pages_show_every_picture_that_is_taken() -> None:
    taken = {path.name for path in (ROOT / "docs" / "screens").glob("*.svg")}
    pages = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))

    assert taken == set(re.findall(r"screens/([\w-]+\.svg)\)", pages))
