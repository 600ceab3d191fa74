"""Releasing one package of the workspace: its version, changelog, tag, and what is built of it."""
