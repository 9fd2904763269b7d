"""Whether this worker knows a call as the gateway does that took it.

Versions may differ while a fleet is brought up to date, and mostly that is well: protobuf's
messages are made for it. What is refused is what would be wrong without a word: a task that
is another method's here, a method that streams otherwise, and a request with fields that the
gateway knows and this worker would pass over.
"""

from __future__ import annotations

from google.protobuf.message import Message

from forebay.checks import Check
from forebay.errors import VersionMismatch
from forebay.routes import Method
from forebay.routes.fingerprints import same_kind

_FIX = "bring gateway and workers to one version of the service's protobuf, then call anew"


def mismatch(method: Method, name: str, fingerprint: str) -> VersionMismatch | None:
    """Why the worker's `method` is not the gateway's, by its name and fingerprint; None: it is.

    Either is empty where the gateway, of an older version, did not say it.
    """
    if name and name != method.name:
        return VersionMismatch(
            f"the call is of {name}, and its task, {method.route.task!r}, is {method.name}'s on "
            f"the worker; {_FIX}"
        )
    if fingerprint and not same_kind(fingerprint, method.fingerprint):
        return VersionMismatch(f"{method.name} streams otherwise on the worker; {_FIX}")
    return None


def checking_versions(check: Check, method: Method, fingerprint: str) -> Check:
    """The check, behind one for fields that only the gateway knows, where versions differ."""
    if not fingerprint or fingerprint == method.fingerprint:
        return check
    return _KnownFields(check)


def unreadable(method: Method) -> VersionMismatch:
    """The error for a request that the gateway could read and the worker can't."""
    name = method.request_class.DESCRIPTOR.full_name
    return VersionMismatch(f"the worker can't read the request as {name}; {_FIX}")


class _KnownFields:
    """Refuses a request with fields that are not known here. Raises VersionMismatch."""

    def __init__(self, check: Check) -> None:
        self._check = check

    def feed(self, request: Message) -> None:
        known = type(request)()
        known.CopyFrom(request)
        known.DiscardUnknownFields()
        if known.ByteSize() != request.ByteSize():
            raise VersionMismatch(
                f"the request has fields of {request.DESCRIPTOR.full_name} that the worker does "
                f"not know; {_FIX}"
            )
        self._check.feed(request)

    def end(self) -> None:
        self._check.end()
