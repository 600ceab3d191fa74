"""What happens on the node: dispatcher, sinks and counters."""
