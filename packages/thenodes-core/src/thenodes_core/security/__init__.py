"""The node's key, and the directory that holds its state."""
