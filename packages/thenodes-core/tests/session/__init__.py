"""Tests of sessions, which share what `conftest` makes."""
