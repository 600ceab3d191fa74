"""The relay's server, behind a door that a test holds."""
