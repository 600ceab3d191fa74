"""The shape of a node's configuration: every table and key, with its default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import structs

from thenodes_plugin_api import NodeId

from ..limits import Limits

__all__ = [
    "BlockTable",
    "Config",
    "DiscoveryTable",
    "EncryptionTable",
    "HealthTable",
    "LoggingTable",
    "NetworkTable",
    "NodeTable",
    "PersistenceTable",
    "PluginsTable",
    "RealmAccessTable",
    "RealmTable",
    "RelayTable",
    "TransportTable",
    "TrustPolicyTable",
    "setting_types",
]

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Size = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Rate = Annotated[int, msgspec.Meta(ge=0, le=10**9)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class RealmTable(_Table, frozen=True, kw_only=True):
    """`[realm]`: the network; nodes of different realms refuse each other.

    Attributes:
        name: its name, for people.
        code: its name's form for machines; derived from the name where absent.
        version: of the application protocol; it has to match, too.
    """

    name: str = "default"
    code: str | None = None
    version: str = "1.0"


class NodeTable(_Table, frozen=True, kw_only=True):
    """`[node]`: this node.

    Attributes:
        id: its id, 1 to 128 of `[A-Za-z0-9._-]`; derived from its key where absent, which
            nobody else can claim.
        state_dir: key, lock, control socket, logs and plugins' data; `data` for the
            command where absent. A library user who gives none gets a key that lives as
            long as the node.
        id_file: a file of the state directory whose text is the id where `id` is
            absent; the reference keeps its id there. It is read, never written:
            an id that nobody chose derives from the key.
        allow_ephemeral: whether a node without a state directory may run, with
            a key that ends with it. Default true.
        node_type: its type in the realm. Default `"daemon"`, as in the reference.
    """

    id: NodeId | None = None
    state_dir: str | None = None
    id_file: Annotated[
        str, msgspec.Meta(min_length=1, max_length=255, pattern=r"\A[^/\x00]+\Z")
    ] = "node_id"
    allow_ephemeral: bool = True
    node_type: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = "daemon"


class RealmAccessTable(_Table, frozen=True, kw_only=True):
    """`[realm_access]`: who of the realm is admitted.

    Attributes:
        allowed_node_types: types of node that are admitted; all where absent.
    """

    allowed_node_types: tuple[str, ...] | None = None


class EncryptionPathsTable(_Table, frozen=True, kw_only=True):
    """`[encryption.paths]`: files and folders of keys and certificates.

    Attributes:
        own_certificate: this node's certificate, and after it those that lead to its
            CA; `identity.crt` in the state directory where absent, made by the node.
        own_private_key: the node key; `identity.pem` in the state directory where
            absent, made by the node; its mode has to be 0600.
        trusted_cert_dir: keys and certificates of trusted peers; `pki/trusted/certs`
            in the state directory where absent.
        trusted_crl_dir: revocation lists are not enforced, so naming some is an error.
        rejected_dir: keys that are refused whatever the policy says; `pki/rejected`
            in the state directory where absent.
        issuer_cert_dir: certificates of the CAs that are believed; `pki/issuers/certs` in
            the state directory where absent.
        issuer_crl_dir: as `trusted_crl_dir`.
    """

    own_certificate: str | None = None
    own_private_key: str | None = None
    trusted_cert_dir: str | None = None
    trusted_crl_dir: str | None = None
    rejected_dir: str | None = None
    issuer_cert_dir: str | None = None
    issuer_crl_dir: str | None = None


class NoiseTable(_Table, frozen=True, kw_only=True):
    """`[encryption.noise]`: settings of the reference's Noise backend, not offered here.

    Attributes:
        pattern: nothing comes of it.
        curve: nothing comes of it.
        cipher: nothing comes of it.
        hash: nothing comes of it.
        static_key_path: nothing comes of it.
    """

    pattern: str | None = None
    curve: str | None = None
    cipher: str | None = None
    hash: str | None = None
    static_key_path: str | None = None


class TrustPathsTable(_Table, frozen=True, kw_only=True):
    """`[encryption.trust_policy.paths]`: where keys are recorded.

    Attributes:
        observed_dir: keys that were seen; `pki/observed/certs` in the state directory
            where absent.
    """

    observed_dir: str | None = None


class TrustPolicyTable(_Table, frozen=True, kw_only=True):
    """`[encryption.trust_policy]`: who is trusted; docs/explanation/security.md has its order.

    Attributes:
        mode: `open` admits every proven key; `allowlist` those that are trusted;
            `observe` too, and records the others; `tofu` remembers which key it met
            first; `ca` those with a certificate of a CA; `hybrid` either of both.
        require_identity: whether a peer has to have a key. Default true; with false,
            peers without one are admitted, and nobody knows who they are.
        accept_self_signed: false refuses self-signed certificates of keys that are not
            trusted; true lets them pass `enforce_ca_chain`, as in the reference.
        store_new_certs: `observed` records every key that is not trusted.
        reject_expired: refuse certificates that are no longer valid.
        reject_before_valid: refuse certificates that are not valid yet.
        enforce_ca_chain: refuse certificates that no CA of `issuer_cert_dir` vouches for.
        pin_subjects: subjects that are admitted, all where empty; `~text` matches a part.
        pin_fingerprints: keys that are admitted, all where empty: SHA-256 of the
            public key, 64 hexadecimal digits.
        pin_fp_algo: `sha256`; there is no other.
        realm_subject_binding: the certificate has to name the realm.
        paths: where keys are recorded.
    """

    mode: Literal["open", "allowlist", "observe", "tofu", "hybrid", "ca"] = "open"
    require_identity: bool = True
    accept_self_signed: bool | None = None
    store_new_certs: Literal["none", "observed"] = "none"
    reject_expired: bool = False
    reject_before_valid: bool = False
    enforce_ca_chain: bool = False
    pin_subjects: tuple[str, ...] = ()
    pin_fingerprints: tuple[str, ...] = ()
    pin_fp_algo: Literal["sha256"] = "sha256"
    realm_subject_binding: bool = False
    paths: TrustPathsTable = TrustPathsTable()


class EncryptionTable(_Table, frozen=True, kw_only=True):
    """`[encryption]`: protection of the connections.

    Attributes:
        enabled: TLS, for listening and for `host:port` in `bootstrap_nodes`; where
            absent it is on if `host` can be reached from beyond this machine.
        backend: `"tls"`, or `"none"` for `enabled = false`; `"noise"` is an error.
        mtls: take only connections with a client certificate of a CA in
            `paths.issuer_cert_dir`. Peers prove their identity without it.
        accept_self_signed: the reference's older key of `trust_policy`.
        allow_plaintext: listen beyond loopback without TLS, with `enabled = false`.
            Default false, because everybody on the way could read everything.
        paths: of keys and certificates.
        noise: settings of a backend that is not offered.
        trust_policy: whose key is trusted.
    """

    enabled: bool | None = None
    backend: Literal["tls", "noise", "none"] = "tls"
    mtls: bool = False
    accept_self_signed: bool | None = None
    allow_plaintext: bool = False
    paths: EncryptionPathsTable = EncryptionPathsTable()
    noise: NoiseTable = NoiseTable()
    trust_policy: TrustPolicyTable = TrustPolicyTable()


class LoggingTable(_Table, frozen=True, kw_only=True):
    """`[logging]`: where events are written.

    Attributes:
        json_path: a file of one JSON object a line; `logs/events.jsonl` in the
            state directory where absent, none where empty. A node without a
            state directory writes none.
        json_max_bytes: the file is rotated beyond this. Default 5 MiB.
        json_rotate: how many old files are kept, `.1` the newest.
        disable_console: whether `thenodes run` shows no events.
    """

    json_path: str | None = None
    json_max_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 5 * 1024 * 1024
    json_rotate: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 3
    disable_console: bool = False


class HealthTable(_Table, frozen=True, kw_only=True):
    """`[health]`: a listener that tells machines how the node is, over HTTP.

    Attributes:
        host: address to listen on. Default 127.0.0.1: what it tells is not encrypted.
        port: TCP port; 0 takes a free one. None by default: it does not listen.
    """

    host: str = "127.0.0.1"
    port: Port | None = None


class DiscoveryTable(_Table, frozen=True, kw_only=True):
    """`[discovery]`: learning the addresses of peers from peers.

    Attributes:
        enabled: ask, answer and dial what was learned. Default true.
        request_interval_secs: seconds between two requests, fewer after the start; a peer
            that joins is asked at once.
        request_want: how many addresses are asked for; with as many peers
            connected no learned address is dialled.
    """

    enabled: bool = True
    request_interval_secs: Seconds = 90
    request_want: Annotated[int, msgspec.Meta(ge=0, le=256)] = 16


class PersistenceTable(_Table, frozen=True, kw_only=True):
    """`[network.persistence]`: known addresses on disk.

    Attributes:
        enabled: keep known addresses on disk. Default false, as in the reference.
        path: the file, in the shape of the reference; `peers.json` in the state
            directory where absent.
        max_entries: how many addresses are known at once, on disk or not.
        ttl_secs: an address that did not answer for so long is forgotten on
            load. Default a week.
        save_interval_secs: how often changes are written, in seconds.
    """

    enabled: bool = False
    path: str | None = None
    max_entries: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1024
    ttl_secs: Seconds = 604_800
    save_interval_secs: Seconds = 60


class RelayTable(_Table, frozen=True, kw_only=True):
    """`[network.relay]`: carrying other nodes' messages, and having one's own carried.

    Attributes:
        enabled: be a relay, which loads the installed plugin `relay`. Default false: it
            costs memory, disk and traffic.
        store_forward: as a relay, keep messages for nodes that are away. Default false,
            as in the reference.
        queue_max_per_target: frames that a relay keeps for one node.
        queue_max_global: frames that a relay keeps for all.
        queue_bytes_per_target: bytes that a relay keeps for one node. Default 16 MiB.
        selection: how this node chooses among the relays that it may use: `none` takes the
            first two of `use`; `rendezvous` computes it from the ids of all, so that
            everybody finds the same.
        use: relays that this node has its messages carried by: addresses as in
            `bootstrap_nodes`, which are dialled, or node ids; loads the installed plugin `relay`.
        allow: node ids or fingerprints that a relay admits; all where empty.
        deny: node ids or fingerprints that a relay refuses, whatever else speaks for them.
        seal: `required` sends nothing through a relay that is not sealed for its receiver,
            and takes nothing else; `off`, for peers without keys, sends unsealed and takes both.
        mailboxes_max: nodes that a relay can be reached through at once.
        max_bindings_per_node: routes that one node may have open at a relay.
        frames_per_second: frames that a relay takes of one node, over a while; 0 for any number.
        frames_burst: how many of them at once.
        bytes_per_second: bytes that a relay takes of one node, over a while; 0 for any
            number. Default 8 MiB.
        bytes_burst: how many of them at once. Default 16 MiB.
        ttl_secs: how long a relay keeps a frame at most. Default a week, at most 30 days.
        retention_secs: how long a relay keeps the mailbox of a node that is away. Default a
            week, as the frames in it.
        store_path: a relay's database; `frames.sqlite3` in the data directory of its plugin
            where absent.
        synchronous: what a relay has on disk before it says `stored`: with `full` everything;
            with `normal` the last moments are lost with the machine's power; with `off` with
            its crash, too.
    """

    enabled: bool = False
    store_forward: bool = False
    queue_max_per_target: Size = 1024
    queue_max_global: Size = 8192
    queue_bytes_per_target: Size = 16 * 1024 * 1024
    selection: Literal["none", "rendezvous"] = "none"
    use: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    seal: Literal["required", "off"] = "required"
    mailboxes_max: Size = 10_000
    max_bindings_per_node: Size = 1024
    frames_per_second: Rate = 5000
    frames_burst: Size = 10_000
    bytes_per_second: Rate = 8 * 1024 * 1024
    bytes_burst: Size = 16 * 1024 * 1024
    ttl_secs: Annotated[int, msgspec.Meta(ge=1, le=2_592_000)] = 604_800
    retention_secs: Seconds = 604_800
    store_path: str | None = None
    synchronous: Literal["full", "normal", "off"] = "full"

    @property
    def is_user(self) -> bool:
        """Whether this node has its own messages carried."""
        return bool(self.use) or self.selection == "rendezvous"

    @property
    def is_on(self) -> bool:
        """Whether this node needs the plugin."""
        return self.enabled or self.is_user


class NetworkTable(_Table, frozen=True, kw_only=True):
    """`[network]`: known addresses on disk, and the relay."""

    persistence: PersistenceTable = PersistenceTable()
    relay: RelayTable = RelayTable()


class TransportTable(_Table, frozen=True, kw_only=True):
    """`[transport]`: the WebSocket server.

    Attributes:
        origins: values of the Origin header that are admitted; none by default,
            so that no web page can reach a node on loopback.
        public_hosts: names under which a proxy that ends TLS hands connections on to
            this node. Peers dial `wss://<name>`, and believe the proxy's certificate
            of a public CA; connections without TLS are then taken from the proxy alone.
    """

    origins: tuple[str, ...] = ()
    public_hosts: tuple[str, ...] = ()


class BlockTable(_Table, frozen=True, kw_only=True):
    """One of `[plugins] blocked`: a plugin that is never loaded.

    Attributes:
        id: of the plugin.
        versions: which of its versions, such as `">=1,<1.4"`; empty for all.
        reason: told to whoever tries.
    """

    id: str
    versions: str = ""
    reason: str = ""


class PluginsTable(_Table, frozen=True, kw_only=True):
    """`[plugins]`: what is loaded.

    Attributes:
        directory: every wheel and source tree in it is loaded, and only its owner may write
            it; for the command, `wheels` in the state directory where absent, once
            `thenodes plugin add` made it.
        paths: wheels, source trees, or directories of both.
        installed: installed plugins, by the name of their entry point in the
            group `thenodes.plugins`. None by default: nothing is loaded that
            the operator did not name.
        allowed: ids; no other plugin is loaded. None by default: all that were named.
        blocked: plugins that are never loaded: tables of `id`, `versions` such as
            `">=1,<1.4"`, all where absent, and `reason`.
        signers: fingerprints of the keys whose signatures of wheels count. That a peer's
            key is trusted does not make it a signer.
        verify_signatures: whether nothing is loaded but wheels that one of `signers` signed.
        strict: whether the node does not start where a plugin was rejected.
        stall: what happens when a plugin holds up the event loop: `report` names it,
            `exit` also ends the process, for a supervisor to start it again.
    """

    directory: str | None = None
    paths: tuple[str, ...] = ()
    installed: tuple[str, ...] = ()
    allowed: tuple[str, ...] | None = None
    blocked: tuple[BlockTable, ...] = ()
    signers: tuple[str, ...] = ()
    verify_signatures: bool = False
    strict: bool = False
    stall: Literal["report", "exit"] = "report"


class Config(_Table, frozen=True, kw_only=True):
    """Everything that can be set of a node.

    Attributes:
        host: address to listen on; beyond loopback, TLS is on. Default 127.0.0.1: only
            this machine.
        port: TCP port. Default 50000, as in the reference; 0 takes a free one.
        bootstrap_nodes: addresses to stay connected with: `host:port`, `ws://…`, `wss://…`;
            `#<node id>` behind one says who has to answer.
        app_name: the application's name, for people.
        realm: the network.
        node: this node.
        realm_access: who is admitted.
        encryption: protection of the connections.
        transport: the WebSocket server.
        discovery: learning addresses from peers.
        network: known addresses on disk, and the relay.
        logging: where events are written.
        health: where the node tells how it is.
        limits: how much one peer may ask of this node, see `Limits`.
        plugins: what is loaded.
        plugin: one table a plugin, `[plugin.<id>]`.
    """

    host: str = "127.0.0.1"
    port: Port = 50000
    bootstrap_nodes: tuple[str, ...] = ()
    app_name: str | None = None
    realm: RealmTable = RealmTable()
    node: NodeTable = NodeTable()
    realm_access: RealmAccessTable = RealmAccessTable()
    encryption: EncryptionTable = EncryptionTable()
    transport: TransportTable = TransportTable()
    discovery: DiscoveryTable = DiscoveryTable()
    network: NetworkTable = NetworkTable()
    logging: LoggingTable = LoggingTable()
    health: HealthTable = HealthTable()
    limits: Limits = Limits()
    plugins: PluginsTable = PluginsTable()
    plugin: Mapping[str, Mapping[str, Any]] = {}


def setting_types(
    table: type[msgspec.Struct] = Config, prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Every key by its dotted name, with its type; `plugin` stands for all tables below it."""
    for field in structs.fields(table):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from setting_types(field.type, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field.type
