"""The Python client: ComputeService as functions on numbers and arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import grpc

from forebay.channels import channel
from forebay.compute.assembly import (
    IntegerAssembly,
    OnProgress,
    factorial_request,
    tell,
)
from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.metadata import CALL_ID
from forebay.resume.channel import ResumingChannel
from forebay.rpc_errors import mapped_rpc_errors

if TYPE_CHECKING:
    from forebay.compute.arrays import Array


def connect(target: str | Sequence[str], *, resume: bool = True) -> Client:
    """A client of the gateways at "HOST:PORT", "HOST:PORT,HOST:PORT" or a sequence of them.

    It connects when first used, and resumes calls as `forebay.channel` says, unless
    `resume` is false. Close it.
    """
    return Client(channel(target, resume=resume))


def call_metadata(call_id: str | None) -> tuple[tuple[str, str], ...]:
    """The request metadata that names a call."""
    return () if call_id is None else ((CALL_ID, call_id),)


class Client:
    """ComputeService's methods. Each raises `forebay.ForebayError`; `timeout` is in seconds.

    A `call_id` of the caller's own makes the call durable, and names it. `stub` is
    the generated stub itself. May be shared by threads. A channel of another kind than
    `forebay.channel`'s is made into one.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        resuming = isinstance(channel, ResumingChannel)
        self._channel = channel if resuming else ResumingChannel([channel])
        self.stub = ComputeServiceStub(self._channel)

    def add(
        self, x: float, y: float, *, timeout: float | None = None, call_id: str | None = None
    ) -> float:
        """X + y in IEEE 754 double precision."""
        with mapped_rpc_errors():
            return self.stub.Add(
                pb.AddRequest(x=x, y=y), timeout=timeout, metadata=call_metadata(call_id)
            ).sum

    def factorial(
        self,
        n: int,
        *,
        progress: OnProgress | None = None,
        timeout: float | None = None,
        call_id: str | None = None,
    ) -> int:
        """n!, exactly.

        To print more than 4,300 of its digits, raise Python's own limit with
        `sys.set_int_max_str_digits`, or use `factorial_digits`.
        """
        request = factorial_request(n, pb.INTEGER_ENCODING_BINARY)
        assembly = IntegerAssembly()
        call = self.stub.Factorial(request, timeout=timeout, metadata=call_metadata(call_id))
        with mapped_rpc_errors(), _left_at_the_end(call):
            for response in call:
                if not tell(response, progress):
                    assembly.feed(response)
        return assembly.result()

    def factorial_digits(
        self,
        n: int,
        *,
        progress: OnProgress | None = None,
        timeout: float | None = None,
        call_id: str | None = None,
    ) -> Iterator[str]:
        """The decimal digits of n!, the leading ones first, in pieces of text.

        Closing the iterator early cancels the call.
        """
        request = factorial_request(n, pb.INTEGER_ENCODING_DECIMAL)
        call = self.stub.Factorial(request, timeout=timeout, metadata=call_metadata(call_id))
        with mapped_rpc_errors(), _left_at_the_end(call):
            for response in call:
                if not tell(response, progress) and response.digits:
                    yield response.digits

    def matmul(
        self,
        a: Array,
        b: Array,
        *,
        progress: OnProgress | None = None,
        timeout: float | None = None,
        call_id: str | None = None,
    ) -> Array:
        """A @ b, of two matrices; the product has the least data type that holds both.

        Raises ValueError and TypeError where NumPy would. Needs NumPy.
        """
        from forebay.compute.products import product_requests

        return self._product(product_requests(a, b), progress, timeout, call_id)

    def random_matmul(
        self,
        m: int,
        n: int,
        seed: int | None = None,
        *,
        dtype: Any = "float64",
        progress: OnProgress | None = None,
        timeout: float | None = None,
        call_id: str | None = None,
    ) -> Array:
        """The m×m product of a random m×n matrix and a random n×m one.

        The same seed gives the same product; with None each call has its own. Needs
        NumPy.
        """
        from forebay.compute.products import random_request

        return self._product([random_request(m, n, seed, dtype)], progress, timeout, call_id)

    def close(self) -> None:
        """Closes the connection; calls in flight are cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _product(
        self,
        requests: Iterable[pb.MatMulRequest],
        progress: OnProgress | None,
        timeout: float | None,
        call_id: str | None,
    ) -> Array:
        from forebay.compute.products import ProductAssembly

        assembly = ProductAssembly()
        # A channel of ours takes whatever can be iterated, and iterates it anew to send it again.
        stream = cast("Iterator[pb.MatMulRequest]", requests)
        call = self.stub.MatMul(stream, timeout=timeout, metadata=call_metadata(call_id))
        with mapped_rpc_errors(), _left_at_the_end(call):
            for response in call:
                if not tell(response, progress):
                    assembly.feed(response)
        return assembly.result()


@contextmanager
def _left_at_the_end(call: grpc.RpcContext) -> Iterator[None]:
    """Whoever leaves the block before the call has ended has no use for it any more."""
    try:
        yield
    finally:
        call.cancel()
