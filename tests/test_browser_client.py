"""The example page in a headless Chromium, against a real node."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .chromium import CHROMIUM, Page
from .conftest import StartNode
from .nodes import KVSTORE, RunningNode, wait_until

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

FOLDER = Path(__file__).parent.parent / "examples" / "browser_client"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def origin() -> Iterator[str]:
    """Serves the page; the origin that it has."""
    handler = functools.partial(_Quiet, directory=str(FOLDER))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def page(origin: str, tmp_path: Path) -> Iterator[Page]:
    with Page(origin, tmp_path / "profile") as page:
        yield page


def start(start_node: StartNode, tmp_path: Path, origins: str) -> RunningNode:
    config = tmp_path / "node.toml"
    config.write_text(f"[transport]\norigins = {origins}\n")
    return start_node("node", "--config", str(config), "--plugin", str(KVSTORE))


def join(page: Page, node: RunningNode, **fields: str) -> None:
    page.fill(url=f"ws://{node.status()['listening']}", id="page", **fields)
    page.click("connect")


def test_the_page_joins_lists_messages_and_sends_one(
    start_node: StartNode, tmp_path: Path, origin: str, page: Page
) -> None:
    node = start(start_node, tmp_path, f'["{origin}"]')

    join(page, node)
    wait_until(lambda: page.text("state").startswith("Joined"), "the page to join")
    (peer,) = node.status()["peers"]
    assert (peer["node_id"], peer["node_type"], peer["encoding"]) == ("page", "browser", "json")

    node.exec("kvstore", "put", "k", "<img src=x onerror=alert(1)>")
    wait_until(lambda: "kvstore.put" in page.text("messages"), "the message in the page")
    assert "<img src=x onerror=alert(1)>" in page.text("messages")
    assert page.run("document.images.length") == 0

    page.fill(kind="kvstore.put", payload='{"key": "from", "value": "page"}')
    page.click("submit")
    wait_until(lambda: node.exec("kvstore", "get", "from") == "from = page", "the value")

    page.click("connect")
    wait_until(lambda: not node.peers(), "the page to leave")


def test_a_page_of_another_origin_does_not_get_in(
    start_node: StartNode, tmp_path: Path, page: Page
) -> None:
    node = start(start_node, tmp_path, "[]")

    join(page, node)

    wait_until(lambda: "origin" in page.text("state"), "the page to say so")
    assert node.peers() == []


def test_the_page_says_why_it_is_refused(
    start_node: StartNode, tmp_path: Path, origin: str, page: Page
) -> None:
    node = start(start_node, tmp_path, f'["{origin}"]')

    join(page, node, realm="Elsewhere")

    wait_until(lambda: "Refused (4001 realm)" in page.text("state"), "the refusal")
    assert "expected realm default/1.0, got elsewhere/1.0" in page.text("state")


def test_the_page_comes_back_when_the_node_does(
    start_node: StartNode, tmp_path: Path, origin: str, page: Page
) -> None:
    node = start(start_node, tmp_path, f'["{origin}"]')
    port = int(node.status()["listening"].rpartition(":")[2])
    join(page, node)
    wait_until(lambda: page.text("state").startswith("Joined"), "the page to join")

    node.stop()
    wait_until(lambda: page.text("state").startswith("Not connected"), "the page to notice")
    config = str(tmp_path / "node.toml")
    again = start_node("node", "--config", config, port=port)

    wait_until(lambda: again.peers() == ["page"], "the page to come back")
