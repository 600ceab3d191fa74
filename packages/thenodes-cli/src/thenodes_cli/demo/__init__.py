"""`thenodes demo`: four nodes on this machine, and a story about them."""
