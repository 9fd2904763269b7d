"""The channel arguments of the gateway's gRPC servers.

https://grpc.github.io/grpc/core/group__grpc__arg__keys.html
"""

from __future__ import annotations

from forebay_backends.settings import Settings

_RECEIVE_SLACK = 1.5
"""A message up to 1.5 times the limit gets an error with details. A larger one gets gRPC's bare
RESOURCE_EXHAUSTED, before it is held whole or decompressed."""
_SEND_SLACK = 4
MIN_PING_INTERVAL_MS = 10_000


def largest_received_bytes(max_message_bytes: int) -> int:
    """The largest request message that gRPC receives, on the wire and decompressed."""
    return int(max_message_bytes * _RECEIVE_SLACK)


def server_options(
    settings: Settings, *, reuse_port: bool, max_connections: int
) -> list[tuple[str, int]]:
    limit = settings.max_message_bytes
    return [
        ("grpc.max_receive_message_length", largest_received_bytes(limit)),
        ("grpc.max_send_message_length", limit * _SEND_SLACK),
        # Else gRPC buffers megabytes of each message that nobody reads yet, not 64 KiB.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_allowed_incoming_connections", max_connections),
        ("grpc.so_reuseport", int(reuse_port)),
        # Clients may ping every 10 s, with or without calls. We ping after 30 s of
        # silence, so that a dead connection is noticed and its calls are released.
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # Connections are renewed, so that load moves to gateways that join; calls in
        # flight have an hour to end on the old one.
        ("grpc.max_connection_age_ms", 30 * 60_000),
        ("grpc.max_connection_age_grace_ms", 60 * 60_000),
    ]
