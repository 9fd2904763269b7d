"""The ids of servers that a request may ask for."""

ABORTS = 404
"""There is no such server."""
SLEEPS = 1_000_000
"""Of this and larger ids the difference is how many ms the answer takes; others are found at once."""
