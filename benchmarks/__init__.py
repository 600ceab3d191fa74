"""Measures nodes against bare websockets, in the same run, each in two processes."""
