"""Pictures of the prompt for the docs, taken of nodes that run: `make screens`."""
