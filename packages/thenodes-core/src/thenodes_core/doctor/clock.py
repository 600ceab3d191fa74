"""Whether the clock can be right, as far as anything here dates something."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .finding import Finding, ok, problem, warning

__all__ = ["Dated", "card", "check_clock"]

_BEHIND_SECONDS = 90.0
# A node signs its card anew each day, and looks whether it is due each hour.
_CARD_SECONDS = 26 * 3600.0


class Dated(msgspec.Struct, frozen=True):
    """Something that cannot be from the future.

    Attributes:
        what: for people.
        at: when it was made, Unix seconds.
        renewed_within_seconds: it is never older than that, as a peer's card; None where it may be.
    """

    what: str
    at: float
    renewed_within_seconds: float | None = None


def card(peer: str, at: float) -> Dated:
    """A peer's identity card, as the peer showed it now."""
    return Dated(f"the card of {peer}", at, _CARD_SECONDS)


def check_clock(now: float, dated: Sequence[Dated]) -> Sequence[Finding]:
    """Compare the clock with what others, and this machine before, dated.

    Args:
        now: Unix seconds.
        dated: what is known to be made.
    """
    if not dated:
        text = "nothing here is dated, so nobody can tell whether it is right"
        return [warning("clock", text, "compare it with another clock: date -u")]
    newest = max(dated, key=lambda one: one.at)
    fix = "set the clock (timedatectl set-ntp true)"
    if newest.at > now + _BEHIND_SECONDS:
        text = f"{_span(newest.at - now)} behind: {newest.what} is newer"
        return [problem("clock", text, fix)]
    bounded = [one for one in dated if one.renewed_within_seconds is not None]
    old = [one for one in bounded if now - one.at > (one.renewed_within_seconds or 0.0)]
    if bounded and len(old) == len(bounded):
        latest = max(old, key=lambda one: one.at)
        text = f"{latest.what} is {_span(now - latest.at)} old, and made anew each day"
        return [warning("clock", text, f"this clock may be ahead, or the peer's behind; {fix}")]
    dates = f"the newest of {len(dated)} dates" if len(dated) > 1 else "the only date here"
    compared = f"not behind {dates} ({newest.what})"
    ahead = "and not a day ahead of the peers" if bounded else "whether it is ahead nothing tells"
    return [ok("clock", f"{compared}; {ahead}")]


def _span(seconds: float) -> str:
    if seconds < 7200:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
