"""Every metric of a node, by name: what kind it is, what it says, and its labels.

Names follow Prometheus' conventions: base units, `_total` for what only grows. A label's
values come from code, plugins' ids or the node's own settings, never from a peer.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

import msgspec

__all__ = ["METRICS", "PROCESS_METRICS", "Kind", "Metric"]


class Kind(enum.StrEnum):
    """Kinds of metrics, by their names in Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    SUMMARY = "summary"
    HISTOGRAM = "histogram"


class Metric(msgspec.Struct, frozen=True):
    """A metric.

    Attributes:
        name: without what its kind appends.
        kind: what it is.
        help: one line.
        labels: in their order.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def series(self) -> Sequence[str]:
        """The names by which it is asked for."""
        endings = {
            Kind.COUNTER: ("_total",),
            Kind.SUMMARY: ("_count", "_sum"),
            Kind.HISTOGRAM: ("_bucket", "_count", "_sum"),
        }
        return [self.name + ending for ending in endings.get(self.kind, ("",))]

    @property
    def shown(self) -> str:
        """Its name in documents."""
        return self.name + ("_total" if self.kind is Kind.COUNTER else "")


def _metrics() -> Mapping[str, Metric]:
    gauge, counter = Kind.GAUGE, Kind.COUNTER
    rows: Sequence[tuple[str, Kind, str, str]] = (
        ("build_info", gauge, "1, by what runs", "version python"),
        ("node_info", gauge, "1, by who the node is", "node_id realm node_type"),
        ("start_time_seconds", gauge, "When the node was started, Unix seconds", ""),
        ("ready", gauge, "1 where /readyz says that the node is ready", ""),
        ("sessions", gauge, "Sessions with peers", "direction encoding"),
        ("frames", counter, "Frames of sessions", "direction kind"),
        ("bytes", counter, "Bytes of those frames", "direction kind"),
        ("messages_received", counter, "Messages of peers that were taken", ""),
        ("messages_dropped", counter, "Messages that nobody gets", "reason"),
        ("texts_received", counter, "Texts that no plugin takes, for the operator", ""),
        (
            "handshakes",
            counter,
            "Connections by their outcome; refusals by the word of the close code",
            "outcome",
        ),
        ("peers_left", counter, "Peers whose last session has ended", ""),
        ("trust_decisions", counter, "Decisions of the trust policy", "reason"),
        ("round_trip_seconds", gauge, "Round trips of the sessions, the newest each", "stat"),
        ("outbox_frames", gauge, "Frames that wait for peers", ""),
        ("outbox_bytes", gauge, "Bytes that wait for peers", ""),
        ("outbox_fullest_bytes", gauge, "Bytes that wait for the peer with the most", ""),
        ("dials", counter, "Attempts to reach an address", "source"),
        ("dial_failures", counter, "Attempts that failed", "source"),
        ("dialled_addresses", gauge, "Addresses to stay connected with", "state"),
        ("addresses_learned", counter, "Addresses that peers told and that were new", ""),
        ("known_peers", gauge, "Addresses that are known", ""),
        ("received_ids", gauge, "Ids of reliable messages that are remembered", ""),
        ("plugins", gauge, "Plugins by where they stand", "state"),
        ("plugin_inbox_items", gauge, "Items that wait for a plugin", "plugin"),
        ("plugin_inbox_bytes", gauge, "Bytes of payload that wait for a plugin", "plugin"),
        (
            "plugin_hook_seconds",
            Kind.SUMMARY,
            "Time in a plugin's hooks, waiting included",
            "plugin hook",
        ),
        ("plugin_faults", counter, "Times that something of a plugin raised", "plugin"),
        ("plugin_quarantines", counter, "Times that a plugin was put into quarantine", "plugin"),
        ("plugin_stalls", counter, "Times that a plugin held the event loop", "plugin"),
        ("plugins_rejected", counter, "Plugins that were not loaded", "code"),
        ("loop_lag_seconds", Kind.HISTOGRAM, "How late a timer of 250 ms was", ""),
        ("loop_stalls", counter, "Times that the event loop was held by no plugin", ""),
        ("relayed_sent", counter, "Messages that went to a relay", ""),
        ("relayed_refused", counter, "Messages that could not go to a relay", "reason"),
        ("relayed_received", counter, "Messages that came through a relay", ""),
        ("relayed_dropped", counter, "Frames of a relay that no plugin got", "reason"),
        ("confirmations_sent", counter, "Words on messages that asked for one", ""),
        ("confirmations_received", counter, "Words of receivers that were waited for", ""),
        ("confirmations_dropped", counter, "Words that were not sent or not expected", "reason"),
        ("relay_bound", counter, "Mailboxes and routes that this relay granted or renewed", ""),
        ("relay_refused_binds", counter, "Binds that this relay refused", "reason"),
        ("relay_unbound", counter, "Bindings of this relay that ended", ""),
        ("relay_forwarded", counter, "Frames handed to a target that is there", ""),
        ("relay_stored", counter, "Frames that this relay has on disk", ""),
        ("relay_duplicates", counter, "Frames that came again while they were stored", ""),
        ("relay_delivered_from_store", counter, "Stored frames handed to their target", ""),
        ("relay_redelivered", counter, "Stored frames handed over again", ""),
        ("relay_acked", counter, "Stored frames that their target acknowledged", ""),
        ("relay_acks_ignored", counter, "Acknowledgements of what was not carried", ""),
        ("relay_dropped", counter, "Frames that this relay refused or gave up", "reason"),
        ("relay_expired", counter, "Frames whose time was over", ""),
        ("relay_evicted", counter, "Frames that made room for others", ""),
        ("relay_notified", counter, "Notifications of this relay", "reason"),
        ("relay_notices_lost", counter, "Notifications that could not be given", "reason"),
        ("relay_stalled", counter, "Times that a target stopped reading", ""),
        ("relay_mailboxes", gauge, "Nodes that this relay reaches or keeps frames for", ""),
        ("relay_present", gauge, "Nodes of these that are connected", ""),
        ("relay_bindings", gauge, "Routes that are open at this relay", ""),
        ("relay_queue_frames", gauge, "Frames that wait at this relay, disk included", ""),
        ("relay_queue_bytes", gauge, "Bytes that wait at this relay, disk included", ""),
        ("relay_store_bytes", gauge, "Size of this relay's store", ""),
        ("relay_stalled_targets", gauge, "Targets that take nothing just now", ""),
        ("relay_client_mailboxes", counter, "Mailboxes that relays granted or renewed", ""),
        ("relay_client_bound", counter, "Routes that relays granted or renewed", ""),
        ("relay_client_refused_binds", counter, "Binds that relays refused", "reason"),
        ("relay_client_refused", counter, "Reliable frames that relays refused", "reason"),
        ("relay_client_notified", counter, "Notifications of relays", "reason"),
        ("relay_client_received", counter, "Frames that relays brought", ""),
        ("relay_client_acked", counter, "Acknowledgements given to relays", "status"),
        ("relay_client_moved", counter, "Times that what waited went to another relay", ""),
        ("relay_client_unsaved", counter, "Reliable frames that no relay had at the stop", ""),
        ("relay_client_cards_refused", counter, "Cards of relays that prove nothing", ""),
        ("relay_client_ignored", counter, "Answers of relays that were not asked for", "kind"),
        ("events_dropped", counter, "Events that a sink was too slow for", ""),
        ("event_sink_failures", counter, "Times that a sink raised", ""),
        ("internal_errors", counter, "Defects of the node itself", ""),
        ("service_counts", counter, "What services of other authors count", "name reason"),
        ("service_levels", gauge, "What services of other authors measure", "name"),
    )
    made = [Metric(f"thenodes_{n}", k, h, tuple(labels.split())) for n, k, h, labels in rows]
    return {metric.name: metric for metric in made}


METRICS: Mapping[str, Metric] = _metrics()
"""By name, in the order in which they are told."""

PROCESS_METRICS: Sequence[str] = (
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
)
"""What prometheus-client adds of the process, where the system has /proc."""
