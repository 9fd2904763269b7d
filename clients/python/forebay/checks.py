"""Checks: what a descriptor can't say about a method's requests.

A check is made anew for each call, fed each request message as it comes, and
told when they have ended. It raises a `CallerError` or `CapacityError`; it does
no I/O. Gateway and worker run the same ones, found by the entry-point group
`forebay.checks` under the method's full name; its keyword arguments are options
that an operator sets per method (`[checks."pkg.Service.Method"]`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Protocol

from google.protobuf.message import Message

GROUP = "forebay.checks"


class Check(Protocol):
    """The check of one call's requests."""

    def feed(self, request: Message) -> None:
        """Takes the next request; raises a `ForebayError` where it is wrong."""

    def end(self) -> None:
        """The requests have ended; raises a `ForebayError` where more was due."""


CheckFactory = Callable[[], Check]


class NoCheck:
    """The check of a method that needs none."""

    def feed(self, request: Message) -> None:
        """Any message will do."""

    def end(self) -> None:
        """Any number of messages will do."""


def load_checks(options: Mapping[str, Mapping[str, Any]]) -> dict[str, CheckFactory]:
    """The installed checks by method, with an operator's options bound.

    Raises ValueError where an option is unknown or unfit, or names no check.
    """
    installed = {point.name: point for point in entry_points(group=GROUP)}
    for method in options:
        if method not in installed:
            known = ", ".join(sorted(installed)) or "none"
            raise ValueError(f"checks: no check is installed for {method!r}; there are: {known}")
    return {
        name: _bind(name, point.load(), options.get(name, {})) for name, point in installed.items()
    }


def _bind(method: str, factory: Callable[..., Check], options: Mapping[str, Any]) -> CheckFactory:
    def bound() -> Check:
        return factory(**options)

    try:
        bound()
    except (TypeError, ValueError) as error:
        raise ValueError(f"checks: {method}: {dict(options)!r}: {error}") from error
    return bound
