"""The gRPC statuses that are the server's fault; all others are the caller's."""

from __future__ import annotations

SERVER_FAULTS = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""Source: https://opentelemetry.io/docs/specs/semconv/rpc/grpc/ on errors of server spans."""
