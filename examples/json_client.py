"""A client with a key of its own that shares no code with a node (docs/reference/wire.md).

Run it with `python examples/json_client.py [ws://127.0.0.1:50000] [client.key]`.
"""

import base64
import hashlib
import json
import os
import re
import sys
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.hashes import SHA256
from websockets.sync.client import connect
from websockets.typing import Subprotocol

SPKI = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
JSON = Subprotocol("thenodes.v1.json")
REALM = {"name": "default", "code": "default", "version": "1.0"}
RANDOM = {"nonce": 32, "instance": 16}  # fields of HELLO, and how many random bytes each is
MODE, VALUE = "plain", b""  # over wss://: "tls", and the SHA-256 of the server's certificate


def load_key(file: Path) -> ed25519.Ed25519PrivateKey:
    if not file.exists():
        file.touch(mode=0o600)
        file.write_bytes(os.urandom(32))
    return ed25519.Ed25519PrivateKey.from_private_bytes(file.read_bytes())


def derive_id(public_key: bytes) -> str:
    return base64.b32encode(hashlib.sha256(public_key).digest()[:20]).decode().lower()


def signed(role: str, hello_a: str, hello_d: str) -> bytes:
    """What a proof signs; its content in msgpack: an array of 6, short texts, short bins."""
    texts = [bytes([0xA0 | len(text)]) + text.encode() for text in (role, JSON, MODE)]
    hashes = [hashlib.sha256(hello.encode()).digest() for hello in (hello_a, hello_d)]
    bins = [bytes([0xC4, len(data)]) + data for data in (VALUE, *hashes)]
    content = b"\x96" + b"".join(texts + bins)
    return f"thenodes/v1/handshake-{role}\0".encode() + hashlib.sha256(content).digest()


def verify(public_key: bytes, signature: bytes, data: bytes) -> None:
    """Raises an error unless it is a signature of 64 bytes by a key in SPKI DER."""
    key = serialization.load_der_public_key(public_key)
    if len(signature) != 64 or key.public_bytes(*SPKI) != public_key:
        raise ValueError("not a signature of 64 bytes by a key in its canonical encoding")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1":
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        return key.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(SHA256()))
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key.verify(signature, data)
    raise ValueError("neither a P-256 nor an Ed25519 key")


def main(url: str = "ws://127.0.0.1:50000", key_file: str = "client.key") -> None:
    key = load_key(Path(key_file))
    public_key = key.public_key().public_bytes(*SPKI)
    own_id = derive_id(public_key)

    def envelope(msg_type: object, payload: object = None, realm: object = None) -> str:
        fields = {"from": own_id, "to": "", "msg_type": msg_type}
        return json.dumps(fields | {"payload": payload, "realm": realm})

    with connect(url, subprotocols=[JSON], compression=None) as ws:
        hello_a = str(ws.recv())
        node = json.loads(hello_a)["msg_type"]["HELLO"]
        node_id, node_key = node["node_id"], base64.b64decode(node["public_key"])
        if re.fullmatch("[a-z2-7]{32}", node_id) and node_id != derive_id(node_key):
            sys.exit(f"{node_id} does not derive from the node's key")
        if node["binding"]["mode"] != MODE:
            sys.exit(f"the node binds proofs to {node['binding']['mode']}, not to {MODE}")

        hello: dict[str, object] = {"node_id": own_id, "protocol": "TheNodes", "version": "1"}
        hello |= {"public_key": base64.b64encode(public_key).decode()}
        hello |= {name: base64.b64encode(os.urandom(n)).decode() for name, n in RANDOM.items()}
        hello |= {"binding": {"mode": MODE, "value": base64.b64encode(VALUE).decode()}}
        hello_d = envelope({"HELLO": hello}, realm=REALM)
        proof = key.sign(signed("dialer", hello_a, hello_d))
        ws.send(hello_d)
        ws.send(envelope({"AUTH": {"proof": base64.b64encode(proof).decode()}}))

        admitted = False
        for text in ws:
            message = json.loads(text)
            match message["msg_type"]:
                case {"DISCONNECT": told}:
                    sys.exit(f"{node_id} ended the session: {told}")
                case {"AUTH": {"proof": proof}} if not admitted:
                    verify(node_key, base64.b64decode(proof), signed("acceptor", hello_a, hello_d))
                    admitted = True
                    print(f"{own_id} joined {node_id}", flush=True)
                    value = {"type": "Json", "value": {"key": "from", "value": own_id}}
                    ws.send(envelope({"EXTENSION": {"kind": "kvstore.put"}}, value))
                case _ if not admitted:
                    sys.exit("the node did not prove itself")
                case "HEARTBEAT":
                    ws.send(envelope("HEARTBEAT"))
                case {"EXTENSION": {"kind": kind}}:
                    print(kind, json.dumps(message["payload"]), flush=True)


main(*sys.argv[1:])
