"""What proves this node to others: its key, certificate, card and TLS contexts."""
