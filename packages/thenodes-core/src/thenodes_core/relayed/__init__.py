"""What goes through relays, and the ground that a relay's plugin stands on."""
