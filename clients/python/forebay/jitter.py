"""Random numbers for pauses, retry delays and the choice of a server.

Python's own generator is left to the program: a handler or a caller may have seeded it. This one
keeps no state, so forked processes draw different numbers.
"""

from collections.abc import Sequence
from random import SystemRandom
from typing import TypeVar

T = TypeVar("T")

_GENERATOR = SystemRandom()


def chance() -> float:
    """A number from 0 up to 1."""
    return _GENERATOR.random()


def between(least: float, most: float) -> float:
    """A number from `least` to `most`."""
    return _GENERATOR.uniform(least, most)


def one_of(choices: Sequence[T]) -> T:
    """One of the choices, of which there must be some."""
    return _GENERATOR.choice(choices)
