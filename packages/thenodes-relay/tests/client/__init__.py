"""The node's side of relays, with relays that a test holds."""
