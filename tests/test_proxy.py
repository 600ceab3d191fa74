"""A node behind a proxy that ends TLS: reached by a verified name, and in no other way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import StartNode
from .interceptor import Authority, Interceptor, own_files
from .nodes import KVSTORE, RunningNode, fails, stop_all, wait_until, with_config

PLUGIN = ("--plugin", str(KVSTORE))
ALONE = "[discovery]\nenabled = false\n"
NEEDS_A_CA = (
    "identity (here): expected a proof bound to tls as this side sees it, got proxy; "
    "a node behind a proxy needs a certificate of a public CA for its name"
)


def behind_proxy(name: str) -> str:
    """The configuration of a node that is reached by this name."""
    return f'{ALONE}\n[transport]\npublic_hosts = ["{name}"]\n'


class Site:
    """A proxy with a certificate for `localhost`, and the node behind it."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "issuers")
        self.files = self.authority.for_host(folder / "proxy")
        config = with_config(folder / "hidden.toml", behind_proxy("localhost"))
        self.hidden = RunningNode(folder / "hidden", *config, *PLUGIN)
        self.direct = f"ws://127.0.0.1:{self.hidden.port}"

    @property
    def believing(self) -> str:
        """The configuration of a node that believes the CA of the proxy."""
        return f'{ALONE}\n[encryption.paths]\nissuer_cert_dir = "{self.authority.folder}"\n'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    try:
        yield site
        assert site.hidden.counter("internal_errors") == 0
        assert "Traceback" not in site.hidden.stop()[1]
    finally:
        stop_all([site.hidden])


@pytest.fixture
def proxy(site: Site) -> Iterator[Interceptor]:
    with Interceptor(site.direct, site.files) as proxy:
        yield proxy


def refusal(node: RunningNode) -> str:
    """Why a node that never had a session has none."""
    wait_until(node.dial_problem, "the end of an attempt")
    assert node.connected() == []
    assert node.counter("peers_joined") == 0
    return node.dial_problem()


@pytest.mark.parametrize("fragment", ["", "#"], ids=["by name", "by name and id"])
def test_a_node_behind_a_proxy_is_reached_by_its_verified_name(
    site: Site, proxy: Interceptor, start_node: StartNode, tmp_path: Path, fragment: str
) -> None:
    address = f"wss://localhost:{proxy.port}" + (fragment and f"#{site.hidden.node_id}")
    config = with_config(tmp_path / "visitor.toml", site.believing)
    visitor = start_node("visitor", *config, *PLUGIN, "--bootstrap", address)
    wait_until(visitor.connected, "the nodes to connect")

    assert visitor.exec("kvstore", "put", "a", "1") == "stored a = 1, sent to 1 peer"
    wait_until(lambda: site.hidden.exec("kvstore", "get", "a") == "a = 1", "the value")

    (peer,) = visitor.ask("status")["peers"]
    assert (peer["node_id"], peer["verified"]) == (site.hidden.node_id, "session")
    assert site.hidden.connected() == [visitor.node_id]
    visitor.stop()
    wait_until(lambda: not site.hidden.connected(), "the end of the session")


def test_without_a_ca_that_vouches_for_the_proxy_there_is_no_session(
    site: Site, proxy: Interceptor, start_node: StartNode, tmp_path: Path
) -> None:
    address = f"wss://localhost:{proxy.port}"
    config = with_config(tmp_path / "visitor.toml", ALONE)

    assert refusal(start_node("visitor", *config, "--bootstrap", address)) == (
        f"{address}: {NEEDS_A_CA}"
    )


def test_somebody_with_a_certificate_of_its_own_in_the_place_of_the_proxy_is_refused(
    site: Site, start_node: StartNode, tmp_path: Path
) -> None:
    with Interceptor(site.direct, own_files(tmp_path / "mallory")) as mallory:
        address = f"wss://localhost:{mallory.port}"
        config = with_config(tmp_path / "visitor.toml", site.believing)

        assert refusal(start_node("visitor", *config, "--bootstrap", address)) == (
            f"{address}: {NEEDS_A_CA}"
        )


def test_an_ip_address_is_no_name_that_a_proxy_can_be_verified_by(
    site: Site, proxy: Interceptor, start_node: StartNode, tmp_path: Path
) -> None:
    address = f"wss://127.0.0.1:{proxy.port}"
    config = with_config(tmp_path / "visitor.toml", site.believing)

    assert refusal(start_node("visitor", *config, "--bootstrap", address)) == (
        f"{address}: {NEEDS_A_CA}"
    )


def test_a_name_that_is_verified_and_not_the_nodes_own_is_refused_by_the_node(
    site: Site, start_node: StartNode, tmp_path: Path
) -> None:
    """A site that the CA vouches for as well must not pass as this one."""
    elsewhere = start_node(
        "elsewhere", *with_config(tmp_path / "elsewhere.toml", behind_proxy("node.example.org"))
    )
    with Interceptor(f"ws://127.0.0.1:{elsewhere.port}", site.files) as proxy:
        address = f"wss://localhost:{proxy.port}"
        config = with_config(tmp_path / "visitor.toml", site.believing)

        assert refusal(start_node("visitor", *config, "--bootstrap", address)) == (
            f"{address}: identity (peer): "
            "expected a proof bound to proxy as this side sees it, got proxy"
        )


def test_a_node_behind_a_proxy_is_not_reached_without_tls(
    site: Site, start_node: StartNode, tmp_path: Path
) -> None:
    config = with_config(tmp_path / "visitor.toml", site.believing)

    why = refusal(start_node("visitor", *config, "--bootstrap", site.direct))

    assert why.startswith(
        f"{site.direct}: identity (here): "
        "expected a proof bound to plain as this side sees it, got proxy; "
    )


def test_a_node_without_public_hosts_is_not_reached_through_a_proxy(
    site: Site, start_node: StartNode, tmp_path: Path
) -> None:
    """It takes the connection for one without TLS, and the proof shows that it is not."""
    plain = start_node("plain", *with_config(tmp_path / "plain.toml", ALONE))
    with Interceptor(f"ws://127.0.0.1:{plain.port}", site.files) as proxy:
        address = f"wss://localhost:{proxy.port}"
        config = with_config(tmp_path / "visitor.toml", site.believing)

        assert refusal(start_node("visitor", *config, "--bootstrap", address)) == (
            f"{address}: identity (here): "
            "expected a proof bound to tls or proxy as this side sees it, got plain"
        )


def test_a_node_that_ends_tls_itself_cannot_be_behind_a_proxy(tmp_path: Path) -> None:
    config = with_config(
        tmp_path / "node.toml", f"{behind_proxy('localhost')}\n[encryption]\nenabled = true\n"
    )

    code, error = fails("run", *config, "--port", "0", "--state-dir", str(tmp_path / "node"))

    assert code == 2
    assert "transport.public_hosts: a proxy ends TLS in front of this node" in error
