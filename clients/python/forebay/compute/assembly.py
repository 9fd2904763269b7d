"""Putting a stream of responses together. Pure: the same for both clients."""

from __future__ import annotations

from collections.abc import Callable

from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors import ItemsLost

OnProgress = Callable[[float, str], object]
"""Called with a fraction from 0 to 1 and the name of a stage."""


def tell(response: pb.FactorialResponse | pb.MatMulResponse, progress: OnProgress | None) -> bool:
    """Passes progress on; whether the response was nothing else."""
    if response.WhichOneof("part") != "progress":
        return False
    if progress is not None:
        progress(response.progress.fraction, response.progress.stage)
    return True


class IntegerAssembly:
    """A factorial from its binary chunks; no decimal, and so no limit on digits, is met."""

    def __init__(self) -> None:
        self._header = pb.IntegerHeader()
        self._bytes = bytearray()

    def feed(self, response: pb.FactorialResponse) -> None:
        """Takes a header or a chunk."""
        if response.WhichOneof("part") == "header":
            self._header.CopyFrom(response.header)
        else:
            self._bytes += response.binary

    def result(self) -> int:
        """The integer; raises ItemsLost where the stream was not whole."""
        if not self._bytes or len(self._bytes) != self._header.byte_count:
            raise ItemsLost(
                f"{len(self._bytes)} bytes of the integer came, not {self._header.byte_count}"
            )
        return int.from_bytes(self._bytes, "big")


def factorial_request(n: int, encoding: pb.IntegerEncoding.ValueType) -> pb.FactorialRequest:
    """The request of a factorial; raises ValueError where n is negative or over 64 bits."""
    return pb.FactorialRequest(n=n, encoding=encoding)
