"""One connection: bytes to events of HTTP/2, events to RPCs, and back."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.fronts.native.floods import IdleFrames, PingStrikes
from forebay_gateway.fronts.native.head import (
    MAX_METADATA_BYTES,
    RESPONSE_HEADERS,
    NoGrpcRequest,
    RpcError,
    read_head,
    status_headers,
)
from forebay_gateway.fronts.native.http2 import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    NO_ERROR,
    PROTOCOL_ERROR,
    ConnectionClosed,
    DataReceived,
    DenialOfServiceError,
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
from forebay_gateway.fronts.native.rpc import NativeRpc
from forebay_gateway.rpc.context import FindHandler

_SENT_AT_ONCE_BYTES = 128 << 10
_FIRST_SLICE_BYTES, _STARTED_A_TURN = 4 << 10, 64
"""A read of 256 KiB may have thousands of requests; other callers would wait for all of them."""
_MAX_QUEUED_BYTES = 256 << 20
"""Of responses that the callers of one connection do not read."""
_KEEPALIVE_PING, _GOAWAY_PING = b"keepaliv", b"goaway\0\0"

_log = logging.getLogger(__name__)


@dataclass
class Connections:
    """The objects that the connections of a front share."""

    find: FindHandler
    limits: FrontLimits
    open: set[NativeConnection] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class NativeConnection(asyncio.Protocol):
    """Made for each connection that is accepted; `tick` must be called every second or so."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    peer: str
    auth_context: Mapping[str, Iterable[bytes]]

    def __init__(self, shared: Connections) -> None:
        self.limits = shared.limits
        self._shared = shared
        self._rpcs: dict[int, NativeRpc] = {}
        self._blocked: dict[NativeRpc, int] = {}
        self._unfinished_requests: set[int] = set()
        self._paused = False
        self._flush_is_due = False
        self._untaken: deque[memoryview] = deque()
        self._started = 0
        """How many RPCs, in all."""
        self._pings = PingStrikes(shared.limits.min_ping_interval_s)
        self.h2 = server_connection(shared.limits.max_streams, MAX_METADATA_BYTES)

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greets the caller, unless there are too many connections."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self.transport, self.loop = transport, asyncio.get_running_loop()
        if len(self._shared.open) >= self.limits.max_connections:
            transport.abort()
            return
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            transport.abort()
            return
        self.peer, self.auth_context = peer_of(transport), auth_context_of(tls)
        sock = transport.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lifetime = Lifetime(self.limits, self.loop.time())
        self._idle_frames = IdleFrames(self.loop.time())
        self._shared.open.add(self)
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        """Cancels the handlers."""
        self._shared.open.discard(self)
        self._drop_rpcs()

    def data_received(self, data: bytes) -> None:
        """Takes what the caller sends."""
        self._untaken.append(memoryview(data))
        if len(self._untaken) == 1:
            self._take()

    def _take(self) -> None:
        """Takes what came, but no more new RPCs in a turn of the event loop than it can bear."""
        started, size = self._started, _FIRST_SLICE_BYTES
        while self._untaken and not self.transport.is_closing():
            data = self._untaken.popleft()
            if len(data) > size:
                self._untaken.appendleft(data[size:])
            before = self._started
            if not self._receive(data[:size]):
                break
            if self._started - started >= _STARTED_A_TURN and self._untaken:
                self.transport.pause_reading()
                self.loop.call_soon(self._take_rest)
                break
            if self._started == before:
                size *= 4
        self.flush_soon()

    def _take_rest(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self._take()

    def _receive(self, data: memoryview) -> bool:
        """Whether the connection goes on."""
        try:
            self.h2.receive_data(data)
        except DenialOfServiceError as error:
            self._fail(ENHANCE_YOUR_CALM, str(error))
            return False
        except NGH2Error as error:
            self._fail(PROTOCOL_ERROR, str(error))
            return False
        self._handle_events(read=True)
        return True

    def pause_writing(self) -> None:
        """The caller, or the network, is slower than its responses."""
        self._paused = True

    def resume_writing(self) -> None:
        """The opposite of `pause_writing`."""
        self._paused = False
        self.flush()

    # Its RPCs

    def give_back(self, stream_id: int, size: int) -> None:
        if size:
            try:
                self.h2.acknowledge_received_data(size, stream_id)
            except NGH2Error:
                return  # the stream is closed: nghttp2 has given them back
            self.flush_soon()

    def set_window(self, stream_id: int, size: int) -> None:
        try:
            self.h2.set_local_window_size(size, stream_id=stream_id)
        except NGH2Error:
            return  # likewise
        self.flush_soon()

    async def wait_for_room(self, rpc: NativeRpc, size: int) -> None:
        self.flush()
        while not rpc.is_over and self.h2.queued_body_size(rpc.stream_id) > size:
            rpc.room = self.loop.create_future()
            self._blocked[rpc] = size
            try:
                await rpc.room
            finally:
                self._blocked.pop(rpc, None)
                rpc.room = None

    def on_finished(self, rpc: NativeRpc) -> None:
        if not rpc.ended:
            self._unfinished_requests.add(rpc.stream_id)
        self.flush_soon(forgive=True)

    def flush_soon(self, *, forgive: bool = False) -> None:
        if forgive:
            self._pings.forgive()
        if not self._flush_is_due:
            self._flush_is_due = True
            self.loop.call_soon(self.flush)

    # Time

    def tick(self, now: float) -> None:
        """Does what is due."""
        try:
            self._tick(now)
        except NGH2Error:
            self.transport.abort()

    def _tick(self, now: float) -> None:
        if self.transport.is_closing():
            return
        match self._lifetime.due(now):
            case Action.PING:
                self.h2.ping(_KEEPALIVE_PING)
            case Action.GO_AWAY:
                self.go_away()
            case Action.GO_AWAY_FINALLY:
                self._go_away_finally()
            case Action.ABORT:
                self.transport.abort()
                return
        self._reset_stalled()
        self.flush()

    def go_away(self) -> None:
        """Sends the first GOAWAY: no new RPCs, but those that are on their way."""
        if self._lifetime.go_away(self.loop.time()) and not self.transport.is_closing():
            self.h2.send_shutdown_notice()
            self.flush()  # nghttp2 would send the ping first, and its answer would say nothing
            self.h2.ping(_GOAWAY_PING)
            self.flush()

    def end_rpcs(self, error: RpcError) -> None:
        """Ends its RPCs with the error."""
        for rpc in tuple(self._rpcs.values()):
            rpc.refuse(error)

    def close(self) -> None:
        """Ends the connection, whatever is in flight."""
        if not self.transport.is_closing():
            self._end(NO_ERROR, b"")

    def _go_away_finally(self) -> None:
        """Sends the second GOAWAY, with the last RPC that is served."""
        self._lifetime.final_goaway_sent = True
        self.h2.send_goaway()
        self.flush()

    def _reset_stalled(self) -> None:
        """Ends the streams of RPCs that are over, and whose responses nobody reads."""
        for rpc in [rpc for rpc in self._rpcs.values() if rpc.is_over]:
            size = self.h2.queued_body_size(rpc.stream_id)
            if rpc.stalls(size):
                self.h2.reset_stream(rpc.stream_id, CANCEL)

    # Events

    def _handle_events(self, *, read: bool) -> None:
        idle = events = 0
        for event in self.h2.events():
            events += 1
            if isinstance(event, DataReceived):
                if not event.data and not event.end_stream:
                    idle += 1
                self._on_data(event)
            elif isinstance(event, RequestReceived):
                self._on_request(event)
            elif isinstance(event, StreamClosed):
                self._on_stream_closed(event.stream_id)
            elif isinstance(event, TrailersReceived):
                rpc = self._rpcs.get(event.stream_id)
                if rpc is not None:
                    rpc.receive(b"", ended=True)
            elif isinstance(event, ConnectionClosed):
                self._finish_closing()
                return
            else:
                idle += 1
                if not self._on_control(event):
                    return
        if read:
            now = self.loop.time()
            self._lifetime.received(now, frames=events)
            if idle and not self._idle_frames.received(idle, now):
                self._end(ENHANCE_YOUR_CALM, b"too_many_frames")

    def _on_data(self, event: DataReceived) -> None:
        rpc = self._rpcs.get(event.stream_id)
        if rpc is None:
            self.give_back(event.stream_id, len(event.data))
        else:
            rpc.receive(event.data, event.end_stream)

    def _on_request(self, event: RequestReceived) -> None:
        stream_id = event.stream_id
        try:
            head = read_head(event.headers)
        except NoGrpcRequest as error:
            self._answer(event, [(b":status", error.status)])
            return
        except RpcError as error:
            self._answer(event, RESPONSE_HEADERS + status_headers(error.code, error.text, []))
            return
        rpc = NativeRpc(self, stream_id, head, self._shared.find(head.path))
        self._rpcs[stream_id] = rpc
        self._started += 1
        task = rpc.start()
        self._shared.tasks.add(task)
        task.add_done_callback(self._shared.tasks.discard)
        if event.end_stream:
            rpc.receive(b"", ended=True)

    def _answer(self, event: RequestReceived, headers: list[tuple[bytes, bytes]]) -> None:
        """Ends a request that is no RPC."""
        self.h2.send_response(event.stream_id, headers, end_stream=True)
        if not event.end_stream:
            self._unfinished_requests.add(event.stream_id)

    def _on_stream_closed(self, stream_id: int) -> None:
        rpc = self._rpcs.pop(stream_id, None)
        if rpc is not None:
            rpc.disconnect()
        self._unfinished_requests.discard(stream_id)

    def _on_control(self, event: object) -> bool:
        """Whether the connection goes on."""
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
        """Sends what there is, unless the caller is too slow."""
        self._flush_is_due = False
        if self._paused or self.transport.is_closing():
            return
        try:
            self._send()
            if self._unfinished_requests and not self._paused:
                self._reset_unfinished()
        except NGH2Error as error:
            self._fail(PROTOCOL_ERROR, str(error))
            return
        if self._blocked:
            self._wake_blocked()
        if self.h2.queued_body_size() > _MAX_QUEUED_BYTES:
            self._end(ENHANCE_YOUR_CALM, b"too_many_unread_responses")

    def _send(self) -> None:
        while not self._paused:
            data = self.h2.data_to_send(_SENT_AT_ONCE_BYTES)
            if not data:
                break
            self._idle_frames.sent(len(data))
            self.transport.write(data)
            if len(data) < _SENT_AT_ONCE_BYTES:
                break
        self._handle_events(read=False)

    def _reset_unfinished(self) -> None:
        """Frees the streams whose response was sent while their caller may send more.

        https://www.rfc-editor.org/rfc/rfc9113#section-8.1
        """
        sent = [
            stream_id
            for stream_id in self._unfinished_requests
            if not self.h2.queued_body_size(stream_id)
        ]
        for stream_id in sent:
            self._unfinished_requests.discard(stream_id)
            self.h2.reset_stream(stream_id, NO_ERROR)
        if sent:
            self._send()

    def _wake_blocked(self) -> None:
        for rpc, size in self._blocked.items():
            room = rpc.room
            if room is None or room.done():
                continue
            if self.h2.queued_body_size(rpc.stream_id) <= size // 2:
                room.set_result(None)

    # The end

    def _end(self, error_code: int, text: bytes) -> None:
        """Ends the connection in order, with a GOAWAY."""
        if error_code != NO_ERROR:
            _log.info("%s: the connection was ended: %s", self.peer, text.decode())
        try:
            self.h2.send_goaway(error_code, debug_data=text)
            self.transport.write(self.h2.data_to_send(_SENT_AT_ONCE_BYTES))
        except NGH2Error:
            pass
        self.transport.close()
        self._drop_rpcs()

    def _fail(self, error_code: int, text: str) -> None:
        """Ends the connection after an error of which ngh2 keeps no state."""
        _log.info("%s: the connection was ended: %s", self.peer, text)
        self.transport.write(goaway_frame(error_code, text.encode()))
        self.transport.close()
        self._drop_rpcs()

    def _finish_closing(self) -> None:
        """nghttp2 wants neither input nor output any more."""
        self.transport.write(self.h2.data_to_send())
        self.transport.close()
        self._drop_rpcs()

    def _drop_rpcs(self) -> None:
        rpcs, self._rpcs = self._rpcs, {}
        for rpc in rpcs.values():
            rpc.disconnect()
