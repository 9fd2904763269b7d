"""Maps strings to the Python types of `forebay.v1.PlainType`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from forebay.v1 import plain_pb2 as pb

FROM_TEXT: Mapping[int, tuple[Callable[[str], Any], str]] = {
    pb.PLAIN_TYPE_DECIMAL: (Decimal, 'a decimal number, such as "12.50"'),
    pb.PLAIN_TYPE_UUID: (UUID, "a UUID"),
    pb.PLAIN_TYPE_DATE: (date.fromisoformat, 'a date, such as "2026-11-28"'),
    pb.PLAIN_TYPE_TIME: (time.fromisoformat, 'a time of day, such as "12:30:00"'),
}
"""For each type, a function that reads it from text, and what that expects.

The functions raise ValueError or ArithmeticError.
"""
