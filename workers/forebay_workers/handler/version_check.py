"""Checks that gateway and worker have compatible versions of a call's method.

Versions differ during a rolling upgrade, and protobuf messages tolerate that. The worker refuses
only calls that would otherwise go wrong silently: the task belongs to another method here, the
method streams differently, or the request has fields that this worker would ignore.
"""

from __future__ import annotations

from google.protobuf.message import Message

from forebay.checks import Check
from forebay.errors import VersionMismatch
from forebay.routes import Method
from forebay.routes.fingerprints import same_kind

_FIX = "deploy the same version of the service's protobuf to gateway and workers, then retry"


def mismatch(method: Method, name: str, fingerprint: str) -> VersionMismatch | None:
    """Returns an error if the gateway's method, by `name` or kind, is not the worker's `method`.

    An older gateway sends an empty name or fingerprint, which matches any method.
    """
    if name and name != method.name:
        return VersionMismatch(
            f"the call is of {name}, but its task {method.route.task!r} belongs to {method.name} "
            f"on the worker; {_FIX}"
        )
    if _differs(method, fingerprint) and not same_kind(fingerprint, method.fingerprint):
        return VersionMismatch(
            f"{method.name} streams differently on the worker, or returns an operation only there "
            f"or only here; {_FIX}"
        )
    return None


def checking_versions(check: Check, method: Method, fingerprint: str) -> Check:
    """Adds a check for fields that the worker lacks, if the versions differ."""
    return _KnownFields(check) if _differs(method, fingerprint) else check


def _differs(method: Method, fingerprint: str) -> bool:
    return bool(fingerprint) and fingerprint != method.fingerprint


def unreadable(method: Method) -> VersionMismatch:
    """Returns the error for a request that the gateway could parse and the worker can't."""
    name = method.request_class.DESCRIPTOR.full_name
    return VersionMismatch(f"the worker can't read the request as {name}; {_FIX}")


class _KnownFields:
    """Raises VersionMismatch for a request with fields that this worker lacks."""

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
