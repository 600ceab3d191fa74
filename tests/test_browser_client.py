"""The example page in a headless Chromium, against a real node."""

from __future__ import annotations

import functools
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .chromium import CHROMIUM, Page
from .conftest import StartNode
from .interceptor import Interceptor, Side, own_files
from .nodes import KVSTORE, RunningNode, wait_until, with_config

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


class _Page(Page):
    def trust_any_certificate(self) -> None:
        """As if a CA that the browser knows had issued every certificate."""
        self._call("Security.setIgnoreCertificateErrors", {"ignore": True})

    @property
    def node_id(self) -> str:
        """The id that the page says is its own."""
        return str(self.run("document.getElementById('id').value"))

    def ready(self) -> None:
        """Wait for its key."""
        wait_until(
            lambda: self.run("typeof identity === 'object' && identity !== null"), "the page's key"
        )

    def joined(self) -> None:
        wait_until(lambda: self.text("state").startswith("Joined"), "the page to join")

    def says(self, text: str) -> None:
        wait_until(lambda: text in self.text("state"), f"the page to say {text!r}")


@pytest.fixture
def page(origin: str, tmp_path: Path) -> Iterator[_Page]:
    with _Page(origin, tmp_path / "profile") as page:
        page.ready()
        yield page


def start(start_node: StartNode, tmp_path: Path, origins: str, more: str = "") -> RunningNode:
    config = with_config(tmp_path / "node.toml", f"[transport]\norigins = {origins}\n{more}")
    return start_node("node", *config, "--plugin", str(KVSTORE))


def behind_a_proxy(start_node: StartNode, tmp_path: Path) -> RunningNode:
    """A node that is reached through a proxy alone, under the name `localhost`."""
    return start(start_node, tmp_path, "[]", 'public_hosts = ["localhost"]\n')


def join(page: Page, node: RunningNode, **fields: str) -> None:
    page.fill(**({"url": f"ws://127.0.0.1:{node.port}"} | fields))
    page.click("connect")


def test_the_page_proves_itself_lists_messages_and_sends_one(
    start_node: StartNode, tmp_path: Path, origin: str, page: _Page
) -> None:
    node = start(start_node, tmp_path, f'["{origin}"]')

    join(page, node)
    page.says(f"Joined {node.node_id}, which proved its id")
    (peer,) = node.status()["peers"]
    assert (peer["node_id"], peer["verified"]) == (page.node_id, "session")
    assert (peer["node_type"], peer["encoding"]) == ("browser", "json")

    node.exec("kvstore", "put", "k", "<img src=x onerror=alert(1)>")
    wait_until(lambda: "kvstore.put" in page.text("messages"), "the message in the page")
    assert "<img src=x onerror=alert(1)>" in page.text("messages")
    assert node.node_id in page.text("messages")
    assert page.run("document.images.length") == 0

    page.fill(kind="kvstore.put", payload='{"key": "from", "value": "page"}')
    page.click("submit")
    wait_until(lambda: node.exec("kvstore", "get", "from") == "from = page", "the value")

    page.click("connect")
    wait_until(lambda: not node.peers(), "the page to leave")


def test_the_page_derives_the_codes_of_realms_as_nodes_do(page: _Page) -> None:
    vectors = json.loads((Path(__file__).parent / "vectors" / "realm.json").read_text())
    names = json.dumps([vector["name"] for vector in vectors])

    codes = page.run(f"{names}.map(realmCode)")

    assert codes == [vector["code"] for vector in vectors]


def test_the_page_keeps_its_key_until_it_is_asked_for_a_new_one(page: _Page) -> None:
    first = page.node_id
    assert re.fullmatch("[a-z2-7]{32}", first)
    assert page.run("identity.privateKey.extractable") is False

    page.run("identity = null; location.reload()")
    page.ready()
    assert page.node_id == first

    page.click("renew")
    wait_until(lambda: page.node_id != first, "the new id")
    second = page.node_id
    page.run("identity = null; location.reload()")
    page.ready()
    assert page.node_id == second


def test_the_page_shows_the_key_of_a_node_that_chose_its_id(
    start_node: StartNode, tmp_path: Path, origin: str, page: _Page
) -> None:
    node = start(start_node, tmp_path, f'["{origin}"]', '[node]\nid = "hub"\n')

    join(page, node)

    page.says(f"Joined hub, which proved the key {node.fingerprint}")


def test_the_page_refuses_another_node_than_the_address_names(
    start_node: StartNode, tmp_path: Path, origin: str, page: _Page
) -> None:
    node = start(start_node, tmp_path, f'["{origin}"]')
    other = "a" * 32

    join(page, node, url=f"ws://127.0.0.1:{node.port}#{other}")
    page.says(f"This page refuses the node: it is {node.node_id}, not {other}.")

    join(page, node, url=f"ws://127.0.0.1:{node.port}#{node.node_id}")
    page.joined()


def test_the_page_joins_through_a_proxy(start_node: StartNode, tmp_path: Path, page: _Page) -> None:
    node = behind_a_proxy(start_node, tmp_path)
    page.trust_any_certificate()

    with Interceptor(f"ws://127.0.0.1:{node.port}", own_files(tmp_path / "proxy")) as proxy:
        join(page, node, url=f"wss://LOCALHOST:{proxy.port}")
        page.joined()
        assert node.connected() == [page.node_id]


def test_a_page_cannot_join_a_node_that_ends_tls_itself_and_says_why(
    start_node: StartNode, tmp_path: Path, origin: str, page: _Page
) -> None:
    node = start(start_node, tmp_path, f'["{origin}"]', "[encryption]\nenabled = true\n")
    page.trust_any_certificate()

    join(page, node, url=f"wss://127.0.0.1:{node.port}")

    page.says("This page refuses the node: it ends TLS itself")
    assert node.connected() == []


def test_the_page_refuses_a_proof_that_was_changed_on_the_way(
    start_node: StartNode, tmp_path: Path, page: _Page
) -> None:
    node = behind_a_proxy(start_node, tmp_path)
    page.trust_any_certificate()

    def change(side: Side, data: bytes) -> bytes:
        before, proof, after = data.partition(b'"AUTH":{"proof":"')
        if side == "dialer" or not proof:
            return data
        return before + proof + (b"B" if after[:1] == b"A" else b"A") + after[1:]

    files = own_files(tmp_path / "proxy")
    with Interceptor(f"ws://127.0.0.1:{node.port}", files, change=change) as proxy:
        join(page, node, url=f"wss://localhost:{proxy.port}")
        page.says("This page refuses the node: its proof is not of its key and this connection.")
        assert proxy.handed_on_to_both

    wait_until(lambda: not node.connected(), "the node to notice")
    assert page.text("connect") == "Join"


def test_a_hello_that_was_changed_on_the_way_gets_the_page_refused(
    start_node: StartNode, tmp_path: Path, page: _Page
) -> None:
    node = behind_a_proxy(start_node, tmp_path)
    page.trust_any_certificate()

    files = own_files(tmp_path / "proxy")
    with Interceptor(
        f"ws://127.0.0.1:{node.port}",
        files,
        change=lambda side, data: data.replace(b'"node_type":"daemon"', b'"node_type":"daemom"'),
    ) as proxy:
        join(page, node, url=f"wss://localhost:{proxy.port}")
        page.says("Refused (4002 identity)")

    assert f"the proof of {page.node_id} is not of its key" in page.text("state")
    assert node.connected() == []


def test_a_page_of_another_origin_does_not_get_in(
    start_node: StartNode, tmp_path: Path, page: _Page
) -> None:
    node = start(start_node, tmp_path, "[]")

    join(page, node)

    page.says("origin")
    assert node.peers() == []


def test_the_page_says_why_it_is_refused(
    start_node: StartNode, tmp_path: Path, origin: str, page: _Page
) -> None:
    node = start(start_node, tmp_path, f'["{origin}"]')

    join(page, node, realm="Elsewhere")

    page.says("Refused (4001 realm)")
    assert "expected realm default/1.0, got elsewhere/1.0" in page.text("state")


def test_a_page_whose_identity_joins_elsewhere_does_not_come_back(
    start_node: StartNode, tmp_path: Path, origin: str, page: _Page
) -> None:
    node = start(start_node, tmp_path, f'["{origin}"]')
    join(page, node)
    page.joined()

    page.run("window.elsewhere = new Session(session.url, session.realm)")

    page.says("Refused (4004 replaced)")
    assert page.run("session") is None
    assert node.connected() == [page.node_id]


def test_the_page_comes_back_when_the_node_does(
    start_node: StartNode, tmp_path: Path, origin: str, page: _Page
) -> None:
    node = start(start_node, tmp_path, f'["{origin}"]')
    port = node.port
    join(page, node)
    page.joined()

    node.stop()
    page.says("Not connected")
    config = str(tmp_path / "node.toml")
    again = start_node("node", "--config", config, port=port)

    wait_until(lambda: again.connected() == [page.node_id], "the page to come back")
