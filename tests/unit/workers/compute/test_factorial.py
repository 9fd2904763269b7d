"""The handler of Factorial, without a worker around it."""

from __future__ import annotations

import threading

import gmpy2
import pytest

from forebay.compute.v1 import compute_pb2 as pb
from forebay_workers.compute.decimals import CHUNK_DIGITS
from forebay_workers.compute.factorial import factorial
from tests.unit.samples import context

TIMEOUT_S = 30.0


def _lasting(request: pb.FactorialRequest) -> list[pb.FactorialResponse]:
    return [
        response
        for response in factorial(request, context())
        if response.WhichOneof("part") != "progress"
    ]


# From one chunk to several, and from GMP's own factorial to the recursive one.
@pytest.mark.parametrize("n", [0, 1, 1000, 40_000, 51_001, 150_000])
def test_the_header_has_the_length_of_the_digits(n: int) -> None:
    number = gmpy2.fac(n)
    header, *parts = _lasting(pb.FactorialRequest(n=n))
    assert "".join(part.digits for part in parts) == number.digits()
    bits = number.bit_length()
    assert header.header == pb.IntegerHeader(
        bit_length=bits, digit_count=len(number.digits()), byte_count=-(-bits // 8)
    )
    assert {len(part.digits) for part in parts[1:]} <= {CHUNK_DIGITS}


@pytest.mark.parametrize("n", [0, 1000, 150_000])
def test_a_factorial_in_bytes_has_the_same_header(n: int) -> None:
    number = gmpy2.fac(n)
    request = pb.FactorialRequest(n=n, encoding=pb.INTEGER_ENCODING_BINARY)
    header, *parts = _lasting(request)
    assert int.from_bytes(b"".join(part.binary for part in parts), "big") == number
    assert header == _lasting(pb.FactorialRequest(n=n))[0]


def test_no_thread_is_left_after_a_disconnect() -> None:
    left = context()
    responses = factorial(pb.FactorialRequest(n=500_000), left)
    assert next(responses)
    left.stop("CANCELLED")
    list(responses)
    for thread in threading.enumerate():
        if thread.name in ("forebay-compute", "forebay-decimals"):
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()
