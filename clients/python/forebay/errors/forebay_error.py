"""The root of all errors."""

from __future__ import annotations

from dataclasses import dataclass

from google.rpc import code_pb2, status_pb2

DOMAIN = "forebay"

_CODE_NAMES: dict[int, str] = {value: name for name, value in code_pb2.Code.items()}


@dataclass(frozen=True)
class FieldViolation:
    """A problem with one field of a request, or with one metadata key.

    `field` is a path, such as `random.m`.
    """

    field: str
    description: str


class ForebayError(Exception):
    """A call ended with a status other than OK.

    `code` is the number of the gRPC status. `reason` is a name of `forebay.v1.ErrorReason`
    without its prefix, or the handler's own; it is empty if the error came from gRPC or a proxy.
    `domain` says who defines the reason: "forebay", the handler's own domain, or empty without a
    reason. `retry_after_s` is the delay in the error's RetryInfo in seconds, None without one.
    `status` is the `google.rpc.Status` that the server sent, None if it sent none.
    """

    code: int = code_pb2.UNKNOWN
    reason: str = ""
    domain: str = DOMAIN

    def __init__(
        self,
        message: str,
        *,
        violations: tuple[FieldViolation, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.violations = violations
        self.retry_after_s = retry_after_s
        self.status: status_pb2.Status | None = None

    @property
    def code_name(self) -> str:
        """The name of the gRPC status, such as `INVALID_ARGUMENT`."""
        return _CODE_NAMES.get(self.code, str(self.code))

    @property
    def retry_may_help(self) -> bool:
        """Whether Forebay sent a RetryInfo with the error."""
        return self.domain == DOMAIN and self.retry_after_s is not None

    def __str__(self) -> str:
        head = f"{self.code_name}/{self.reason}" if self.reason else self.code_name
        return f"{head}: {self.message}"
