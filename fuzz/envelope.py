"""Fuzzes the JSON encoding: `python -m fuzz.envelope [CORPUS] [INPUT]`."""

from __future__ import annotations

from .target import JSON, check, fuzz

__all__ = ["one_input"]


def one_input(data: bytes) -> None:
    """Try one input."""
    check(JSON, data)


if __name__ == "__main__":
    fuzz(one_input)
