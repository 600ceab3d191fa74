"""Messages through a third process: ours, a bare forwarder, and NATS."""
