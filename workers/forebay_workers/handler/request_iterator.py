"""The iterator over requests that a handler receives, with the methods of `grpc.server`'s."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock

from google.protobuf.message import Message

from forebay_workers.handler.context import CallContext
from forebay_workers.handler.interrupted import Interrupted, Stopped


class RequestIterator:
    """Iterates over request messages, in any thread of the handler.

    Raises Stopped, which is a grpc.RpcError, as often as it is read after the call has ended.
    Ends when the handler has returned.
    """

    def __init__(self, requests: Iterator[Message], context: CallContext) -> None:
        self._requests = requests
        self._context = context
        self._lock = Lock()
        self._interrupted: Interrupted | None = None

    def __iter__(self) -> RequestIterator:
        return self

    def __next__(self) -> Message:
        with self._lock:
            if self._interrupted is not None:
                raise self._interrupted
            if self._context.has_finished():
                raise StopIteration
            if self._context.stopped is not None:
                raise Stopped
            try:
                return next(self._requests)
            except Interrupted as interrupted:
                self._interrupted = interrupted
                raise

    def next(self) -> Message:
        """Like `next(requests)`, which `grpc.server` offers too."""
        return self.__next__()
