"""The prompt: its state, its completion, and the terminal or pipe it runs on."""
