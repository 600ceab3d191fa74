"""Where a relay keeps frames for nodes that are away."""
