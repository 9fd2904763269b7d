"""Random numbers for pauses, retry delays and the choice of a server.

They do not come from Python's global generator, which a handler or a caller may have seeded.
`SystemRandom` keeps no state, so forked processes draw different numbers.
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
    """A random one of the choices; raises IndexError if there are none."""
    return _GENERATOR.choice(choices)
