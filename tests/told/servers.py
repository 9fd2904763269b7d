"""The ids of servers that a request may ask for."""

ABORTS = 404
"""There is no such server."""
SLEEPS = 1_000_000
"""From this id on, the difference is how many ms the answer takes; others are found at once."""
