"""Factorial: n!, exactly, in chunks, with progress while it computes."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from forebay.compute.v1 import compute_pb2 as pb
from forebay_workers.compute.background import Background, ProgressMark
from forebay_workers.compute.integers import (
    binary_chunks,
    decimal_chunks,
    digit_count,
    factorial_of,
    release_gil,
)

_MULTIPLIED = 0.4
"""About how much of the time has passed when the product is there."""


def factorial(
    request: pb.FactorialRequest, context: grpc.ServicerContext
) -> Iterator[pb.FactorialResponse]:
    """A header, then chunks; progress every 0.25 s. Ends within 0.5 s of a cancellation.

    The arithmetic runs in a thread, so that this generator can say where it is, and
    hear that it is no longer wanted, while a single product takes seconds.
    """
    with Background(lambda mark: _parts(request, mark), context.is_active) as background:
        for part in background:
            if isinstance(part, pb.Progress):
                yield pb.FactorialResponse(progress=part)
            else:
                yield part


def _parts(request: pb.FactorialRequest, mark: ProgressMark) -> Iterator[pb.FactorialResponse]:
    release_gil()
    number = factorial_of(request.n, lambda fraction: mark.at(fraction * _MULTIPLIED, "multiply"))
    digits, bits = digit_count(number), number.bit_length()
    yield pb.FactorialResponse(
        header=pb.IntegerHeader(bit_length=bits, digit_count=digits, byte_count=-(-bits // 8))
    )
    if request.encoding == pb.INTEGER_ENCODING_BINARY:
        for chunk in binary_chunks(number):
            yield pb.FactorialResponse(binary=chunk)
        return
    done = 0

    def converting() -> None:
        mark.at(_MULTIPLIED + (1 - _MULTIPLIED) * done / digits, "convert")

    for text in decimal_chunks(number, digits, converting):
        done += len(text)
        yield pb.FactorialResponse(digits=text)
