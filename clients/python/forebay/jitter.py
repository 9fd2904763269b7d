"""Random numbers for pauses and retry delays."""

from random import SystemRandom

JITTER = SystemRandom()
"""Python's own generator stays the program's: a handler or a caller may have seeded it.

It keeps no state, so forked processes draw different numbers.
"""
