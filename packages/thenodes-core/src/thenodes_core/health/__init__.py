"""How a node is, for machines: alive, ready, and in numbers."""
