"""Whole nodes that know relays and not each other, over a network in memory."""
