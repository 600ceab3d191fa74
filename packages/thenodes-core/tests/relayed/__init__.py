"""What goes through relays, at the node's side."""
