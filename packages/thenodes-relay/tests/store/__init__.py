"""Stores, each behind the one Protocol."""
