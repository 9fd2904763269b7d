"""HTTP/2 on one connection: turns received bytes into RPCs, and responses into bytes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from forebay_gateway.fronts.native.floods import (
    MAX_RESETS,
    RESETS_PER_S,
    Allowance,
    IdleFrames,
    PingStrikes,
)
from forebay_gateway.fronts.native.head import MAX_METADATA_BYTES, RpcError
from forebay_gateway.fronts.native.http2 import (
    ENHANCE_YOUR_CALM,
    NO_ERROR,
    PROTOCOL_ERROR,
    ConnectionClosed,
    DataReceived,
    DenialOfServiceError,
    Event,
    NGH2Error,
    PingAcknowledged,
    PingReceived,
    RequestReceived,
    SettingsReceived,
    StreamClosed,
    TrailersReceived,
    goaway_frame,
    server_connection,
)
from forebay_gateway.fronts.native.lifetime import Action, Lifetime
from forebay_gateway.fronts.native.peers import auth_context_of, peer_of
from forebay_gateway.fronts.native.refused import with_statuses
from forebay_gateway.fronts.native.rpc import STALL_S
from forebay_gateway.fronts.native.streams import MAX_QUEUED_BYTES, Serving, Streams

_SENT_AT_ONCE_BYTES = 128 << 10
_KEEPALIVE_PING, _GOAWAY_PING = b"keepaliv", b"goaway\0\0"

_log = logging.getLogger(__name__)


class Session:
    """The HTTP/2 of one connection, which it may end; call its `tick` about once a second."""

    streams: Streams

    def __init__(self, serving: Serving, transport: asyncio.Transport) -> None:
        self.transport, self.loop = transport, asyncio.get_running_loop()
        limits, now = serving.limits, self.loop.time()
        self._h2 = server_connection(limits.max_streams, MAX_METADATA_BYTES)
        self._paused_since: float | None = None
        self._flush_is_due = False
        self._ends_within_frame = False
        """Whether the next bytes to send may begin in the middle of a frame."""
        self._lifetime = Lifetime(limits, now)
        self._pings = PingStrikes(limits.min_ping_interval_s)
        self._idle_frames = IdleFrames(now)
        self._provoked_resets = Allowance(MAX_RESETS, RESETS_PER_S, now)
        """Streams that are reset for an error of their caller's before the caller has ended them.

        They have the same limit as the caller's own resets. Otherwise a caller could get around
        that one ("MadeYouReset"): an invalid message, or a deadline of 1 ns, makes the server reset
        a stream that has not ended. https://www.cve.org/CVERecord?id=CVE-2025-8671
        """
        self.streams = Streams(
            *(serving, self._h2, self, peer_of(transport)),
            auth_context_of(transport.get_extra_info("ssl_object")),
        )

    # The connection

    def receive(self, data: memoryview) -> bool:
        """Handles the bytes; returns whether they left the connection intact."""
        try:
            self._h2.receive_data(data)
        except DenialOfServiceError as error:
            self._fail(ENHANCE_YOUR_CALM, str(error))
            return False
        except NGH2Error as error:
            self._fail(PROTOCOL_ERROR, str(error))
            return False
        self._handle_events(self._h2.events(), read=True)
        return True

    def pause(self) -> None:
        """Stops sending."""
        self._paused_since = self.loop.time()

    def resume(self) -> None:
        self._paused_since = None
        self.flush()

    def closed(self) -> None:
        """The caller has closed its side."""
        self._lifetime.closed(self.loop.time())

    def lost(self) -> None:
        """The connection has ended: cancels the handlers of the RPCs that are still open."""
        self.streams.drop()
        del self.streams  # breaks a reference cycle

    @property
    def _paused(self) -> bool:
        return self._paused_since is not None

    def flush_soon(self, *, forgive: bool = False) -> None:
        if forgive:
            self._pings.forgive()
        if not self._flush_is_due:
            self._flush_is_due = True
            self.loop.call_soon(self.flush)

    # Time

    def tick(self, now: float) -> None:
        """Sends a ping or GOAWAY if due, aborts if overdue, and resets stalled streams."""
        try:
            self._tick(now)
        except NGH2Error:
            self.transport.abort()

    def _tick(self, now: float) -> None:
        if self.transport.is_closing():
            if self._lifetime.close_is_overdue(now):
                self.transport.abort()
            return
        match self._lifetime.due(now):
            case Action.PING:
                self._h2.ping(_KEEPALIVE_PING)
            case Action.GO_AWAY:
                self.go_away()
            case Action.GO_AWAY_FINALLY:
                self._go_away_finally()
            case Action.ABORT:
                self.transport.abort()
                return
        stalled, paused_since = self.streams.reset_stalled(), self._paused_since
        if stalled and paused_since is not None and now - paused_since >= STALL_S:
            # No reset can be sent, and nghttp2 keeps the responses until then.
            self.transport.abort()
            return
        self.flush()

    def go_away(self) -> None:
        """Sends the first GOAWAY: the client starts no more RPCs; those on their way are served."""
        if self._lifetime.go_away(self.loop.time()) and not self.transport.is_closing():
            self._h2.send_shutdown_notice()
            self.flush()  # nghttp2 would send the ping first, whose answer would confirm nothing
            self._h2.ping(_GOAWAY_PING)
            self.flush()

    def end_rpcs(self, error: RpcError) -> None:
        self.streams.end(error)

    def close(self) -> None:
        """Ends the connection at once, even with RPCs in flight."""
        if not self.transport.is_closing():
            self._end(NO_ERROR, b"")

    def _go_away_finally(self) -> None:
        """Sends the second GOAWAY, which names the last RPC that is served."""
        self._lifetime.final_goaway_sent = True
        self._h2.send_goaway()
        self.flush()

    # Events

    def _handle_events(self, events: Sequence[Event], *, read: bool) -> None:
        idle = requests = 0
        streams = self.streams
        for event in events:
            if isinstance(event, DataReceived):
                if not event.data and not event.end_stream:
                    idle += 1
                streams.on_data(event)
            elif isinstance(event, RequestReceived):
                requests += 1
                streams.on_request(event)
            elif isinstance(event, StreamClosed):
                streams.on_closed(event.stream_id)
            elif isinstance(event, TrailersReceived):
                streams.on_trailers(event.stream_id)
            elif isinstance(event, ConnectionClosed):
                self._finish_closing()
                return
            else:
                idle += 1
                if not self._on_control(event):
                    return
        if read:
            now = self.loop.time()
            self._lifetime.received(now, frames=len(events))
            self._idle_frames.requested(requests)
            if idle and not self._idle_frames.received(idle, now):
                self._end(ENHANCE_YOUR_CALM, b"too_many_frames")
                return
            provoked = streams.take_provoked_resets()
            if provoked and not self._provoked_resets.take(provoked, now):
                self._end(ENHANCE_YOUR_CALM, b"too_many_provoked_resets")

    def _on_control(self, event: object) -> bool:
        """Handles a PING or SETTINGS; returns False if it ended the connection."""
        if isinstance(event, PingReceived):
            if not self._pings.received(self.loop.time()):
                self._end(ENHANCE_YOUR_CALM, b"too_many_pings")
                return False
        elif isinstance(event, PingAcknowledged):
            if event.opaque_data == _GOAWAY_PING and self._lifetime.notice_heard():
                self._go_away_finally()
        elif isinstance(event, SettingsReceived):
            self._lifetime.greeted = True
        return True

    # Bytes out

    def flush(self) -> None:
        """Sends what is queued, unless writing is paused."""
        self._flush_is_due = False
        if self.transport.is_closing():
            return
        if self._paused:
            if self._h2.queued_body_size() > MAX_QUEUED_BYTES:
                self._abort_unread()
            return
        try:
            self._send()
            if not self._paused and self.streams.reset_unfinished():
                self._send()
        except NGH2Error as error:
            self._fail(PROTOCOL_ERROR, str(error))
            return
        self.streams.wake_blocked()
        if self._h2.queued_body_size() > MAX_QUEUED_BYTES:
            self._end(ENHANCE_YOUR_CALM, b"too_many_unread_responses")

    def _send(self) -> None:
        while not self._paused and not self.transport.is_closing():
            data = self._h2.data_to_send(_SENT_AT_ONCE_BYTES)
            events = self._h2.events()
            if data:
                self._write(data, events)
            self._handle_events(events, read=False)
            if len(data) < _SENT_AT_ONCE_BYTES:
                break

    def _write(self, data: bytes, events: Sequence[Event]) -> None:
        begins_within_frame = self._ends_within_frame
        self._ends_within_frame = len(data) >= _SENT_AT_ONCE_BYTES
        self._idle_frames.sent(len(data))
        if not begins_within_frame and (refused := self.streams.refused_of(events)):
            data = with_statuses(data, refused)
        self.transport.write(data)

    # The end

    def _close(self) -> None:
        """Ends the connection as soon as the caller has read what was written."""
        self._lifetime.closed(self.loop.time())
        self.transport.close()
        self.streams.drop()

    def _end(self, error_code: int, text: bytes) -> None:
        """Ends the connection with a GOAWAY from nghttp2."""
        if error_code != NO_ERROR:
            _log.info("%s: the connection was ended: %s", self.streams.peer, text.decode())
        try:
            self._h2.send_goaway(error_code, debug_data=text)
            self.transport.write(self._h2.data_to_send(_SENT_AT_ONCE_BYTES))
        except NGH2Error:
            pass
        self._close()

    def _abort_unread(self) -> None:
        """Ends the connection of a caller that reads nothing, not even a GOAWAY."""
        _log.info("%s: the connection was ended: too_many_unread_responses", self.streams.peer)
        self.transport.abort()
        self.streams.drop()

    def _fail(self, error_code: int, text: str) -> None:
        """Ends the connection with our own GOAWAY: ngh2 keeps no state of such an error."""
        _log.info("%s: the connection was ended: %s", self.streams.peer, text)
        self.transport.write(goaway_frame(self.streams.last_id, error_code, text.encode()))
        self._close()

    def _finish_closing(self) -> None:
        """Closes the connection after nghttp2 has ended it."""
        self.transport.write(self._h2.data_to_send())
        self._close()
