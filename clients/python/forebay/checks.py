"""Checks of a method's requests that a descriptor can't express, such as a maximum value.

Gateway and workers find a method's check in the entry-point group `forebay.checks`, under the
method's full name. They make one for each call, call `feed` with each request as it arrives, and
`end` after the last. A check raises a `CallerError` or `CapacityError`; it does no I/O. The entry
point names its factory, whose keyword arguments are options that an operator sets per method
(`[checks."pkg.Service.Method"]`).
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
        """Checks the next request; raises a `ForebayError` if it is wrong."""

    def end(self) -> None:
        """Checks that the requests are complete; raises a `ForebayError` if they are not."""


CheckFactory = Callable[[], Check]


class NoCheck:
    """The check of a method that has none."""

    def feed(self, request: Message) -> None:
        """Accepts any message."""

    def end(self) -> None:
        """Accepts any number of messages."""


def load_checks(options: Mapping[str, Mapping[str, Any]]) -> dict[str, CheckFactory]:
    """The installed checks by method, with the operator's options bound.

    Raises ValueError if `options` names a method without a check, or if an option is unknown or has
    a wrong value.
    """
    installed = {point.name: point for point in entry_points(group=GROUP)}
    for method in options:
        if method not in installed:
            known = ", ".join(sorted(installed)) or "none"
            raise ValueError(f"checks: no check is installed for {method!r}; installed: {known}")
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
