"""The wire protocol, without sockets, clocks or randomness."""
