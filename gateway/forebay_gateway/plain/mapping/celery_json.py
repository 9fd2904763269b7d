"""JSON as Celery writes it, read with care. Pure.

Beyond JSON it has NaN and infinities, integers of any length, and Python's values in
an envelope (`kombu.utils.json`): bytes, dates and times, Decimal, UUID.
"""

from __future__ import annotations

import json
from typing import Any

from kombu.utils.json import object_hook

_LONGEST_INT = 19
"""Digits of what may fit 64 bits; a longer number stays text, since reading it takes
quadratic time and Python refuses more than 4,300 digits."""


class LongInteger(str):
    """An integer beyond 64 bits, as its decimal digits."""

    __slots__ = ()


class Unreadable(ValueError):
    """What is no JSON of Celery's; the message says why, without any of it."""


def read_json(text: str | bytes) -> Any:
    """The value; raises Unreadable."""
    try:
        return json.loads(text, object_hook=object_hook, parse_int=_integer)
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise Unreadable("it is no UTF-8") from None
    except json.JSONDecodeError as error:
        raise Unreadable(f"it is no JSON: {error.msg} at character {error.pos}") from None
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        raise Unreadable("it holds a value of a type that is not known here") from None


def _integer(digits: str) -> int | LongInteger:
    return int(digits) if len(digits) <= _LONGEST_INT + 1 else LongInteger(digits)


def kind(value: object) -> str:
    """What a value is, in JSON's words, for a message that must not hold the value."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case LongInteger():
            return "an integer beyond 64 bits"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            return f"a {type(value).__name__}"
