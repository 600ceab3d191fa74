"""One peer's session: the protocol driven over a link."""
