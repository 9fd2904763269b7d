"""One gateway: its ports, its processes, and the handlers of all its RPCs."""
