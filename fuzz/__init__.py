"""Coverage-guided fuzzing of what a peer can send before anything of it is believed."""
