"""A node's configuration file: made, looked into and changed."""
