"""Reads JSON from Celery, which is untrusted. Pure.

Celery's JSON also has NaN and infinities, integers of any length and, in the envelopes of
`kombu.utils.json`, bytes, dates and times, Decimal and UUID.
"""

from __future__ import annotations

import json
from typing import Any

from kombu.utils.json import object_hook

ENVELOPE = frozenset({"__type__", "__value__"})
"""The keys of an object that `kombu.utils.json` decodes as bytes, a time and so on."""
_MAX_INT_DIGITS = 19
"""Enough for 64 bits. Longer integers stay text: parsing them takes quadratic time, and Python
refuses more than 4,300 digits."""


class LongInteger(str):
    """An integer beyond 64 bits, as its decimal digits."""

    __slots__ = ()


class Unreadable(ValueError):
    """The text is not JSON as Celery writes it. The message gives the reason and quotes nothing."""


def read_json(text: str | bytes) -> Any:
    """The value; raises Unreadable."""
    try:
        return json.loads(text, object_hook=object_hook, parse_int=_integer)
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Unreadable(f"it is not JSON: {error.msg} at character {error.pos}") from None
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        raise Unreadable("it holds a value of an unknown type") from None


def _integer(digits: str) -> int | LongInteger:
    return int(digits) if len(digits) <= _MAX_INT_DIGITS + 1 else LongInteger(digits)


def kind(value: object) -> str:
    """The value's type in JSON's words, for error messages, which must not contain the value."""
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
