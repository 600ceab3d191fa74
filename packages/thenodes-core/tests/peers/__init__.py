"""Tests of peers, some of which share what `conftest` makes."""
