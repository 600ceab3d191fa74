"""What may be asked of delivery, and what an outcome says."""

from __future__ import annotations

from typing import Any

import pytest

from thenodes_plugin_api import (
    MOST_TTL_SECONDS,
    DeliveryOptions,
    DeliveryOutcome,
    DeliveryStatus,
    QoS,
    Reason,
)


def test_without_a_word_a_message_is_kept_in_order_and_stored() -> None:
    options = DeliveryOptions()

    assert (options.qos, options.store, options.ttl_seconds, options.confirm) == (
        QoS.HIGH_THROUGHPUT,
        True,
        None,
        False,
    )


def test_a_qos_may_be_given_by_its_name() -> None:
    wanted: Any = "reliable"

    assert DeliveryOptions(qos=wanted).qos is QoS.RELIABLE


def test_a_qos_that_there_is_not_is_refused() -> None:
    wanted: Any = "fast"

    with pytest.raises(ValueError, match="'fast'"):
        DeliveryOptions(qos=wanted)


@pytest.mark.parametrize(
    "seconds", [0.0, -1.0, float("nan"), float("inf"), MOST_TTL_SECONDS + 1], ids=str
)
def test_a_ttl_out_of_bounds_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="at most 2592000"):
        DeliveryOptions(ttl_seconds=seconds)


def test_the_longest_ttl_is_thirty_days() -> None:
    assert DeliveryOptions(ttl_seconds=MOST_TTL_SECONDS).ttl_seconds == 30 * 86400


@pytest.mark.parametrize("qos", [QoS.LOW_LATENCY, QoS.HIGH_THROUGHPUT, QoS.BULK])
def test_only_what_is_reliable_can_be_confirmed(qos: QoS) -> None:
    with pytest.raises(ValueError, match=f"confirm with QoS {qos}"):
        DeliveryOptions(qos=qos, confirm=True)


@pytest.mark.parametrize("status", list(DeliveryStatus))
def test_an_outcome_is_ok_unless_it_is_a_refusal(status: DeliveryStatus) -> None:
    outcome = DeliveryOutcome(status, reason=Reason.QUOTA)

    assert outcome.ok is (status is not DeliveryStatus.REFUSED)
