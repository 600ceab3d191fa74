"""Somebody ends TLS between two nodes: where that is defeated, and what happens where not."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec import structs

from thenodes_core.limits import Limits
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_plugin_api import Binding, Disconnect, Hello, Message

from .conftest import StartNode
from .interceptor import Authority, Interceptor, Side, own_files
from .nodes import RunningNode, stop_all, wait_until, with_config

TLS = """
[encryption]
enabled = true

[discovery]
enabled = false
"""
OPEN = f"{TLS}\n[encryption.trust_policy]\n"
ALLOWLIST = f'{OPEN}mode = "allowlist"\n'
TOFU = f'{OPEN}mode = "tofu"\n'

NOT_THIS_CONNECTION = "identity (peer): expected a proof bound to tls as this side sees it, got tls"
CODEC = BinaryCodec(Limits())


class Scene:
    """A real node, and somebody who wants to get between it and whoever dials it.

    Attributes:
        real: the node that is meant.
        authority: the CA that vouches for its key.
        files: certificate and key of the interceptor.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder / "issuers")
        self.authority.node(folder / "real")
        self.real = RunningNode(folder / "real", *with_config(folder / "real.toml", TLS))
        self.files = own_files(folder / "mallory")

    @property
    def upstream(self) -> str:
        return f"wss://127.0.0.1:{self.real.port}"

    def policy(self, name: str) -> str:
        """What the victim's configuration says."""
        return {
            "id": OPEN,
            "open": OPEN,
            "pin": f'{OPEN}pin_fingerprints = ["{self.real.fingerprint}"]\n',
            "allowlist": ALLOWLIST,
            "ca": f'{OPEN}mode = "ca"\n\n[encryption.paths]\n'
            f'issuer_cert_dir = "{self.authority.folder}"\n',
        }[name]

    def victim(
        self, start_node: StartNode, policy: str, address: str, tmp_path: Path
    ) -> RunningNode:
        """A node that dials, and by its policy would admit the real node."""
        name = f"victim-{policy}"
        trusted = tmp_path / name / "pki" / "trusted" / "certs"
        trusted.mkdir(parents=True)
        (trusted / "real.pem").write_bytes((self.folder / "real" / "identity.crt").read_bytes())
        config = with_config(tmp_path / f"{name}.toml", self.policy(policy))
        return start_node(name, *config, "--bootstrap", address)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("scene"))
    try:
        yield scene
        assert scene.real.counter("internal_errors") == 0
        assert "Traceback" not in scene.real.stop()[1]
    finally:
        stop_all([scene.real])


def refusal(node: RunningNode) -> str:
    """Why a node that never had a session has none."""
    wait_until(node.dial_problem, "the end of an attempt")
    assert node.connected() == []
    assert node.counter("peers_joined") == 0
    return node.dial_problem()


@pytest.mark.parametrize("policy", ["id", "pin", "allowlist", "ca", "open"])
def test_every_policy_admits_the_real_node_itself(
    scene: Scene, start_node: StartNode, policy: str, tmp_path: Path
) -> None:
    victim = scene.victim(start_node, policy, f"{scene.upstream}#{scene.real.node_id}", tmp_path)

    wait_until(victim.connected, "the nodes to connect")

    assert victim.connected() == [scene.real.node_id]


@pytest.mark.parametrize("policy", ["id", "pin", "allowlist", "ca", "open"])
def test_who_only_hands_on_is_defeated_by_the_binding_to_the_certificate(
    scene: Scene, start_node: StartNode, policy: str, tmp_path: Path
) -> None:
    with Interceptor(scene.upstream, scene.files) as interceptor:
        address = f"wss://127.0.0.1:{interceptor.port}"
        if policy == "id":
            address += f"#{scene.real.node_id}"
        victim = scene.victim(start_node, policy, address, tmp_path)

        assert refusal(victim) == f"{address}: {NOT_THIS_CONNECTION}"

    assert interceptor.handed_on_to_both
    assert victim.node_id not in scene.real.connected()


def test_who_hands_on_to_a_node_that_tofu_knows_is_defeated_too(
    start_node: StartNode, tmp_path: Path
) -> None:
    real = start_node("real", *with_config(tmp_path / "real.toml", TLS))
    port, address = real.port, f"wss://127.0.0.1:{real.port}"
    victim = start_node(
        "victim", *with_config(tmp_path / "victim.toml", TOFU), "--bootstrap", address
    )
    wait_until(victim.connected, "the nodes to meet")
    real.stop()
    again = start_node("real", *with_config(tmp_path / "real.toml", TLS))

    files = own_files(tmp_path / "mallory")
    with Interceptor(f"wss://127.0.0.1:{again.port}", files, port=port):
        wait_until(lambda: "identity" in victim.dial_problem(), "the interceptor's attempt")

    assert victim.dial_problem() == f"{address}: {NOT_THIS_CONNECTION}"
    assert victim.counter("peers_joined") == 1


def changing(of: Side, **fields: object) -> Callable[[Side, bytes], bytes]:
    """Changes the HELLO of one side."""

    def change(side: Side, data: bytes) -> bytes:
        (message,) = CODEC.decode(data)
        if side != of or not isinstance(message, Message) or not isinstance(message.body, Hello):
            return data
        hello = structs.replace(message.body, **fields)
        return CODEC.encode(Message(hello, sender=message.sender, to=message.to))

    return change


def test_who_makes_the_binding_fit_breaks_the_proof(
    scene: Scene, start_node: StartNode, tmp_path: Path
) -> None:
    shown = ssl.get_server_certificate(("127.0.0.1", scene.real.port))
    digest = sha256(ssl.PEM_cert_to_DER_cert(shown)).digest()
    change = changing("dialer", binding=Binding("tls", digest))
    with Interceptor(scene.upstream, scene.files, change=change) as interceptor:
        address = f"wss://127.0.0.1:{interceptor.port}"
        victim = scene.victim(start_node, "open", address, tmp_path)

        why = refusal(victim)

    assert why == (
        f"{address}: identity (peer): "
        f"the proof of {victim.node_id} is not of its key and this connection"
    )


def test_who_offers_another_binding_gets_no_hello(
    scene: Scene, start_node: StartNode, tmp_path: Path
) -> None:
    change = changing("acceptor", binding=Binding("plain"))
    with Interceptor(scene.upstream, scene.files, change=change) as interceptor:
        address = f"wss://127.0.0.1:{interceptor.port}"
        victim = scene.victim(start_node, "open", address, tmp_path)

        why = refusal(victim)

    assert why == (
        f"{address}: identity (here): expected a proof bound to tls as this side sees it, got plain"
    )
    said = [CODEC.decode(data)[0] for side, data in interceptor.handed_on if side == "dialer"]
    assert [type(m.body) for m in said if isinstance(m, Message)] == [Disconnect]


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ("id", "the address is of {real}, but {mallory} answered"),
        ("pin", "not trusted here: fp-pin-mismatch"),
        ("allowlist", "not trusted here: not-in-trusted"),
        ("ca", "not trusted here: chain-invalid"),
    ],
)
def test_who_plays_a_node_of_its_own_is_refused(
    scene: Scene, start_node: StartNode, policy: str, why: str, tmp_path: Path
) -> None:
    mallory = start_node(
        "mallory", *with_config(tmp_path / "mallory.toml", TLS), "--bootstrap", scene.upstream
    )
    address = f"wss://127.0.0.1:{mallory.port}"
    if policy == "id":
        address += f"#{scene.real.node_id}"
    victim = scene.victim(start_node, policy, address, tmp_path)

    expected = why.format(real=scene.real.node_id, mallory=mallory.node_id)
    assert refusal(victim) == f"{address}: identity (here): {expected}"


def test_who_plays_a_node_of_its_own_is_refused_by_tofu_that_knows_the_address(
    start_node: StartNode, tmp_path: Path
) -> None:
    real = start_node("real", *with_config(tmp_path / "real.toml", TLS))
    address = f"wss://127.0.0.1:{real.port}"
    victim = start_node(
        "victim", *with_config(tmp_path / "victim.toml", TOFU), "--bootstrap", address
    )
    wait_until(victim.connected, "the nodes to meet")
    port = real.port
    real.stop()

    start_node("mallory", *with_config(tmp_path / "mallory.toml", TLS), port=port)
    wait_until(lambda: "not trusted" in victim.dial_problem(), "the interceptor's attempt")

    assert victim.dial_problem() == (f"{address}: identity (here): not trusted here: changed-key")
    assert victim.counter("peers_joined") == 1
    assert victim.connected() == []


def test_on_first_contact_without_any_of_these_it_is_admitted_and_only_as_who_it_is(
    scene: Scene, start_node: StartNode, tmp_path: Path
) -> None:
    """What is not promised: nobody can know that this is not the node that was meant."""
    mallory = start_node(
        "mallory", *with_config(tmp_path / "mallory.toml", TLS), "--bootstrap", scene.upstream
    )
    victim = scene.victim(start_node, "open", f"wss://127.0.0.1:{mallory.port}", tmp_path)
    wait_until(victim.connected, "the interceptor's session")
    wait_until(lambda: mallory.node_id in scene.real.connected(), "its other one")

    assert victim.connected() == [mallory.node_id]
    assert mallory.node_id != scene.real.node_id
    assert victim.node_id not in scene.real.connected()


def test_nobody_can_take_an_id_that_derives_from_another_key(
    scene: Scene, start_node: StartNode, tmp_path: Path
) -> None:
    mallory = start_node("mallory", *with_config(tmp_path / "mallory.toml", TLS))
    claim = changing("acceptor", node_id=scene.real.node_id)
    with Interceptor(f"wss://127.0.0.1:{mallory.port}", scene.files, change=claim) as interceptor:
        address = f"wss://127.0.0.1:{interceptor.port}#{scene.real.node_id}"
        victim = scene.victim(start_node, "open", address, tmp_path)

        why = refusal(victim)

    said = f"{scene.real.node_id} does not derive from the key presented"
    assert why == f"{address}: identity (here): {said}"


def test_an_id_that_somebody_chose_protects_no_first_contact(
    scene: Scene, start_node: StartNode, tmp_path: Path
) -> None:
    """Nor is it promised: only an id that derives from a key says which key is meant."""
    claim = f'{TLS}\n[node]\nid = "kitchen"\n'
    mallory = start_node("mallory", *with_config(tmp_path / "mallory.toml", claim))
    address = f"wss://127.0.0.1:{mallory.port}#kitchen"
    victim = scene.victim(start_node, "open", address, tmp_path)

    wait_until(victim.connected, "the interceptor's session")

    assert victim.connected() == ["kitchen"]
    peers = victim.ask("status")["peers"]
    assert peers[0]["fingerprint"] == mallory.fingerprint
