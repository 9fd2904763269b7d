"""Which statuses are the server's fault; the others are the caller's affair."""

from __future__ import annotations

SERVER_FAULTS = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""https://opentelemetry.io/docs/specs/semconv/rpc/grpc/: what is an error of a server."""
