"""How probes report what they see."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.echo.v1.echo_pb2 import EchoResponse

CALLED: list[str] = []
"""Observations of callbacks and threads after their handlers returned; servers are in process."""


def text(value: object) -> EchoResponse:
    return EchoResponse(text=repr(value))


def result(function: Callable[..., Any], *arguments: Any) -> tuple[str, Any]:
    """The function's result and its type, or the type of its exception."""
    try:
        returned = function(*arguments)
    except Exception as error:
        kinds = [kind for kind in type(error).__mro__ if "forebay" not in kind.__module__]
        return "raises", kinds[0].__name__
    return type(returned).__name__, returned


def until_inactive(context: Any) -> None:
    give_up = time.monotonic() + 10.0
    while context.is_active():
        assert time.monotonic() < give_up, "the call is still active"
        time.sleep(0.01)
