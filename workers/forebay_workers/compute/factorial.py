"""Factorial: n!, exactly, in chunks, with progress reports."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from forebay.compute.v1 import compute_pb2 as pb
from forebay_workers.compute.background import Background, ProgressMark
from forebay_workers.compute.decimals import DecimalWriter, digit_count, release_gil
from forebay_workers.compute.integers import binary_chunks, factorial_digits, factorial_of
from forebay_workers.handler.native_threads import thread_share

_MULTIPLIED = 0.25
"""The multiplication's share of the time; the conversion takes the rest."""


def factorial(
    request: pb.FactorialRequest, context: grpc.ServicerContext
) -> Iterator[pb.FactorialResponse]:
    """Yields a header, then chunks, and progress every 0.25 s.

    The arithmetic runs in threads: a single product may take seconds, and meanwhile this
    generator reports progress and ends within 0.5 s of a cancellation.
    """
    with Background(lambda mark: _parts(request, mark), context.is_active) as background:
        for part in background:
            if isinstance(part, pb.Progress):
                yield pb.FactorialResponse(progress=part)
            else:
                yield part


def _parts(request: pb.FactorialRequest, mark: ProgressMark) -> Iterator[pb.FactorialResponse]:
    release_gil()
    binary = request.encoding == pb.INTEGER_ENCODING_BINARY
    writer = DecimalWriter(thread_share())
    if not binary:
        writer.expect(factorial_digits(request.n))
    number = factorial_of(request.n, lambda fraction: mark.at(fraction * _MULTIPLIED, "multiply"))
    digits, bits = digit_count(number), number.bit_length()
    yield pb.FactorialResponse(
        header=pb.IntegerHeader(bit_length=bits, digit_count=digits, byte_count=-(-bits // 8))
    )
    if binary:
        for chunk in binary_chunks(number):
            yield pb.FactorialResponse(binary=chunk)
        return
    done = 0

    def converting() -> None:
        mark.at(_MULTIPLIED + (1 - _MULTIPLIED) * done / digits, "convert")

    for text in writer.chunks(number, digits, converting):
        done += len(text)
        yield pb.FactorialResponse(digits=text)
