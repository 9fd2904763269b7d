"""ComputeService's streaming RPCs: makes requests, and assembles results from responses. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors import ItemsLost

OnProgress = Callable[[float, str], object]
"""Called with a fraction from 0 to 1 and the name of a stage."""

ResponseT = TypeVar("ResponseT", bound="pb.FactorialResponse | pb.MatMulResponse")
ResultT = TypeVar("ResultT")


class Assembly(ABC, Generic[ResponseT, ResultT]):
    """A result that is put together from the items of a stream."""

    @abstractmethod
    def add(self, response: ResponseT) -> None:
        """Adds the next item."""

    @abstractmethod
    def result(self) -> ResultT:
        """The result; raises ItemsLost if items are missing."""


@dataclass(frozen=True)
class StreamingRpc(Generic[ResponseT, ResultT]):
    """One RPC of the blocking or the async client: its request, and the assembly of its result."""

    request: object
    assembly: Assembly[ResponseT, ResultT]
    progress: OnProgress | None

    def add(self, response: ResponseT) -> None:
        """Reports progress, or adds the response to the result."""
        if not report_progress(response, self.progress):
            self.assembly.add(response)


def report_progress(
    response: pb.FactorialResponse | pb.MatMulResponse, progress: OnProgress | None
) -> bool:
    """Passes a response with progress to the callback; returns whether it was such a response."""
    if response.WhichOneof("part") != "progress":
        return False
    if progress is not None:
        progress(response.progress.fraction, response.progress.stage)
    return True


class IntegerAssembly(Assembly[pb.FactorialResponse, int]):
    """A factorial from its binary chunks: Python limits only the conversion of decimal digits."""

    def __init__(self) -> None:
        self._header = pb.IntegerHeader()
        self._bytes = bytearray()

    def add(self, response: pb.FactorialResponse) -> None:
        """Adds a header or a chunk."""
        if response.WhichOneof("part") == "header":
            self._header.CopyFrom(response.header)
        else:
            self._bytes += response.binary

    def result(self) -> int:
        """The integer; raises ItemsLost if chunks are missing."""
        if not self._bytes or len(self._bytes) != self._header.byte_count:
            raise ItemsLost(
                f"{len(self._bytes)} of the integer's {self._header.byte_count} bytes arrived; "
                "make a new call"
            )
        return int.from_bytes(self._bytes, "big")


def factorial_request(n: int, encoding: pb.IntegerEncoding.ValueType) -> pb.FactorialRequest:
    """The request of a factorial; raises ValueError if n is negative or over 64 bits."""
    return pb.FactorialRequest(n=n, encoding=encoding)


def factorial_rpc(n: int, progress: OnProgress | None) -> StreamingRpc[pb.FactorialResponse, int]:
    """N! as an integer; raises as `factorial_request`."""
    request = factorial_request(n, pb.INTEGER_ENCODING_BINARY)
    return StreamingRpc(request, IntegerAssembly(), progress)
