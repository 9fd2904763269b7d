"""The RPCs of one connection: events of HTTP/2 to RPCs, and what waits for their callers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.fronts.native.head import (
    RESPONSE_HEADERS,
    NoGrpcRequest,
    RpcError,
    read_head,
    status_headers,
)
from forebay_gateway.fronts.native.http2 import (
    CANCEL,
    NO_ERROR,
    PROTOCOL_ERROR,
    Connection,
    DataReceived,
    Event,
    NGH2Error,
    RequestReceived,
    StreamClosed,
)
from forebay_gateway.fronts.native.rpc import NativeRpc
from forebay_gateway.rpc.context import FindHandler

MAX_QUEUED_BYTES = 256 << 20
"""Unread responses of a connection; over this limit, the connection ends."""


@dataclass
class Serving:
    """What all connections of a front serve by; `tasks` run their RPCs."""

    find: FindHandler
    limits: FrontLimits
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class Output(Protocol):
    """What the RPCs need of their connection's sending side."""

    def flush(self) -> None:
        """Sends what there is, unless the caller is too slow."""

    def flush_soon(self, *, forgive: bool = False) -> None:
        """See `Link`."""


class Streams:
    """Implements `Link` for the RPCs of a connection."""

    def __init__(
        self,
        serving: Serving,
        h2: Connection,
        output: Output,
        peer: str,
        auth_context: Mapping[str, Iterable[bytes]],
    ) -> None:
        self.h2 = h2
        self.loop = asyncio.get_running_loop()
        self.limits = serving.limits
        self.peer = peer
        self.auth_context = auth_context
        self.flush_soon = output.flush_soon
        self.started = 0
        """How many RPCs, in all."""
        self.last_id = 0
        """The last stream that was served."""
        self._provoked_resets = 0
        self._serving = serving
        self._flush = output.flush
        self._rpcs: dict[int, NativeRpc] = {}
        self._blocked: dict[NativeRpc, int] = {}
        self._unfinished_requests: dict[int, bool] = {}
        """The streams whose response is complete, and whether the caller provoked its error."""

    # Events

    def on_request(self, event: RequestReceived) -> None:
        stream_id = self.last_id = event.stream_id
        try:
            head = read_head(event.headers)
        except NoGrpcRequest as error:
            self._answer(event, [(b":status", error.status)])
            return
        except RpcError as error:
            self._answer(event, RESPONSE_HEADERS + status_headers(error.code, error.text, []))
            return
        rpc = NativeRpc(self, stream_id, head, self._serving.find(head.path))
        self._rpcs[stream_id] = rpc
        self.started += 1
        task = rpc.start()
        self._serving.tasks.add(task)
        task.add_done_callback(self._serving.tasks.discard)
        if event.end_stream:
            rpc.receive(b"", ended=True)

    def on_data(self, event: DataReceived) -> None:
        rpc = self._rpcs.get(event.stream_id)
        if rpc is None:
            self.give_back(event.stream_id, len(event.data))
        else:
            rpc.receive(event.data, event.end_stream)

    def on_trailers(self, stream_id: int) -> None:
        rpc = self._rpcs.get(stream_id)
        if rpc is not None:
            rpc.receive(b"", ended=True)

    def on_closed(self, stream_id: int) -> None:
        rpc = self._rpcs.pop(stream_id, None)
        if rpc is not None:
            rpc.disconnect()
        self._unfinished_requests.pop(stream_id, None)

    def refused_of(self, events: Sequence[Event]) -> set[int]:
        """The streams that nghttp2 has reset for their request headers, and never reported."""
        return {
            event.stream_id
            for event in events
            if isinstance(event, StreamClosed)
            and event.error_code == PROTOCOL_ERROR
            and event.stream_id not in self._rpcs
            and event.stream_id not in self._unfinished_requests
        }

    def _answer(self, event: RequestReceived, headers: list[tuple[bytes, bytes]]) -> None:
        """Ends a request that is not an RPC."""
        try:
            self.h2.send_response(event.stream_id, headers, end_stream=True)
        except NGH2Error:
            return  # its caller has reset it
        if not event.end_stream:
            self._unfinished_requests[event.stream_id] = True

    # Link

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
            return  # the stream is closed
        self.flush_soon()

    async def wait_for_room(self, rpc: NativeRpc, size: int) -> None:
        self._flush()
        while not rpc.is_over and self.h2.queued_body_size(rpc.stream_id) > size:
            rpc.room = self.loop.create_future()
            self._blocked[rpc] = size
            try:
                await rpc.room
            finally:
                self._blocked.pop(rpc, None)
                rpc.room = None

    def on_queued(self) -> None:
        if self.h2.queued_body_size() > MAX_QUEUED_BYTES:
            self._flush()  # now: the other RPCs of this turn would queue still more
        else:
            self.flush_soon(forgive=True)

    def on_finished(self, rpc: NativeRpc) -> None:
        if not rpc.requests_ended:
            self._unfinished_requests[rpc.stream_id] = rpc.is_provoked
        self.flush_soon(forgive=True)

    def take_provoked_resets(self) -> int:
        """How many streams their callers made the server reset, since the last time.

        A reset after an early response does not count, be it OK or an error of the server's own:
        the RPC is over, and has cost the server no more than any other.
        """
        count, self._provoked_resets = self._provoked_resets, 0
        return count

    # What was sent, and what was not

    def reset_unfinished(self) -> bool:
        """Frees the streams whose response was sent while their caller may send more.

        https://www.rfc-editor.org/rfc/rfc9113#section-8.1
        Returns whether there is something to send.
        """
        sent = [
            stream_id
            for stream_id in self._unfinished_requests
            if not self.h2.queued_body_size(stream_id)
        ]
        for stream_id in sent:
            self._provoked_resets += self._unfinished_requests.pop(stream_id)
            self.h2.reset_stream(stream_id, NO_ERROR)
        return bool(sent)

    def reset_stalled(self) -> bool:
        """Ends the streams of RPCs that are over, and whose responses nobody reads.

        Returns whether there was one.
        """
        found = False
        for rpc in [rpc for rpc in self._rpcs.values() if rpc.is_over]:
            size = self.h2.queued_body_size(rpc.stream_id)
            if rpc.stalls(size):
                self.h2.reset_stream(rpc.stream_id, CANCEL)
                found = True
        return found

    def wake_blocked(self) -> None:
        """Lets handlers go on whose responses were sent."""
        for rpc, size in self._blocked.items():
            room = rpc.room
            if room is None or room.done():
                continue
            if self.h2.queued_body_size(rpc.stream_id) <= size // 2:
                room.set_result(None)

    # The end

    def end(self, error: RpcError) -> None:
        """Ends all RPCs with the error."""
        for rpc in tuple(self._rpcs.values()):
            rpc.refuse(error)

    def drop(self) -> None:
        """The connection has ended: cancels the handlers."""
        rpcs, self._rpcs = self._rpcs, {}
        for rpc in rpcs.values():
            rpc.disconnect()
