"""The limits that every front keeps to."""

from __future__ import annotations

from dataclasses import dataclass

BACKLOG = 1024
"""How many new connections the kernel keeps for each socket until the gateway takes them."""
_RECEIVE_SLACK = 1.5
_SEND_SLACK = 4
_OTHER_STREAMS = 1_000
"""Streams beyond `max_calls`: more calls reach the gateway, which rejects them, than wait in
clients."""


@dataclass(frozen=True)
class FrontLimits:
    """The limits of one gateway process; times in seconds, sizes in bytes."""

    max_request_bytes: int
    """The size of a request message, on the wire and decompressed."""
    max_response_bytes: int
    max_connections: int
    max_streams: int
    """RPCs of one connection."""
    min_ping_interval_s: float = 10.0
    """Clients may ping this often, with or without RPCs."""
    keepalive_time_s: float = 30.0
    """After this much silence the server pings, to find dead connections and end their RPCs."""
    keepalive_timeout_s: float = 10.0
    max_connection_age_s: float = 30 * 60.0
    """Connections are renewed, so that load moves to gateways that join."""
    max_connection_age_grace_s: float = 60 * 60.0
    """How long RPCs in flight may continue on the old connection."""
    handshake_s: float = 10.0
    """Time limit of a TLS handshake."""


def largest_request_bytes(max_message_bytes: int) -> int:
    """The size of the largest request message that a front receives.

    A message up to 1.5 times the limit gets an error with details. A larger one gets a bare
    RESOURCE_EXHAUSTED, before it is held whole or decompressed.
    """
    return int(max_message_bytes * _RECEIVE_SLACK)


def front_limits(max_message_bytes: int, max_connections: int, max_calls: int) -> FrontLimits:
    return FrontLimits(
        largest_request_bytes(max_message_bytes),
        max_message_bytes * _SEND_SLACK,
        max_connections,
        max_calls + _OTHER_STREAMS,
    )
