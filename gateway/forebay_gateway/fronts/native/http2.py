"""HTTP/2 without I/O, by ngh2 on nghttp2. Nothing else imports ngh2: its API is not stable."""

from __future__ import annotations

from ngh2 import (
    Configuration,
    Connection,
    ConnectionClosed,
    DataReceived,
    DenialOfServiceError,
    Event,
    NGH2Error,
    PingAcknowledged,
    PingReceived,
    RequestReceived,
    Role,
    Setting,
    SettingsReceived,
    StreamClosed,
    TrailersReceived,
)

from forebay_gateway.fronts.native.floods import MAX_RESETS, RESETS_PER_S

__all__ = (
    "CANCEL",
    "ENHANCE_YOUR_CALM",
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "STREAM_WINDOW_BYTES",
    "Connection",
    "ConnectionClosed",
    "DataReceived",
    "DenialOfServiceError",
    "Event",
    "NGH2Error",
    "PingAcknowledged",
    "PingReceived",
    "RequestReceived",
    "SettingsReceived",
    "StreamClosed",
    "TrailersReceived",
    "goaway_frame",
    "server_connection",
)

NO_ERROR, PROTOCOL_ERROR, CANCEL, ENHANCE_YOUR_CALM = 0x0, 0x1, 0x8, 0xB
"""https://www.rfc-editor.org/rfc/rfc9113#section-7"""

STREAM_WINDOW_BYTES = 65_535
"""Bytes that a caller may send of an RPC that nobody reads."""
_CONNECTION_WINDOW_BYTES = 64 << 20
"""Bytes that a connection's RPCs may hold unread: 1,024 full ones before they block each other."""
_MAX_FRAME_BYTES = 64 << 10
"""ngh2 reports a DATA frame when it is whole."""

_CONFIGURATION = Configuration(
    auto_window_update=False,
    # Over these, nghttp2 can only end the connection; `head.py` has the limits of one RPC.
    max_inbound_header_list_size=256 << 10,
    max_inbound_header_count=2_048,
    max_continuations=16,
    stream_reset_rate_limit=(MAX_RESETS, RESETS_PER_S),
)


def server_connection(max_streams: int, max_header_list_bytes: int) -> Connection:
    """The server's end of a connection; its SETTINGS wait to be sent."""
    connection = Connection(Role.SERVER, _CONFIGURATION)
    connection.initiate_connection(
        {
            Setting.MAX_CONCURRENT_STREAMS: max_streams,
            Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
            Setting.MAX_FRAME_SIZE: _MAX_FRAME_BYTES,
            Setting.MAX_HEADER_LIST_SIZE: max_header_list_bytes,
            Setting.NO_RFC7540_PRIORITIES: 1,
        }
    )
    connection.set_local_window_size(_CONNECTION_WINDOW_BYTES)
    return connection


def goaway_frame(last_stream_id: int, error_code: int, text: bytes) -> bytes:
    """A GOAWAY for a connection whose state ngh2 has discarded after a fatal error."""
    payload = last_stream_id.to_bytes(4, "big") + error_code.to_bytes(4, "big") + text
    return len(payload).to_bytes(3, "big") + b"\x07\x00" + bytes(4) + payload
