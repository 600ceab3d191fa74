"""What an operator can ask of a running node, and the socket it is asked through."""
