"""The Python client: ComputeService as functions on numbers and arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import grpc

from forebay.channels import channel
from forebay.compute.assembly import (
    OnProgress,
    ResponseT,
    ResultT,
    StreamingRpc,
    factorial_request,
    factorial_rpc,
    report_progress,
)
from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.credentials.tokens import Token
from forebay.metadata import call_metadata
from forebay.resume.channel import ResumingChannel
from forebay.rpc_errors import Cancellable, cancelled_on_exit, mapped_rpc_errors

if TYPE_CHECKING:
    from forebay.compute.arrays import Array

CoResponseT = TypeVar("CoResponseT", covariant=True)


def connect(
    target: str | Sequence[str],
    *,
    resume: bool = True,
    credentials: grpc.ChannelCredentials | None = None,
    token: Token | None = None,
) -> Client:
    """A client of the gateways at "HOST:PORT", "HOST:PORT,HOST:PORT" or a sequence of them.

    The client connects at the first call. `resume`, `credentials` and `token` are as in
    `forebay.channel`. The caller closes the client. Raises ValueError if there is no target, or for
    a token that would leave this host without TLS.
    """
    return Client(channel(target, resume=resume, credentials=credentials, token=token))


class Client:
    """ComputeService's methods. All raise `forebay.ForebayError`; threads may share a client.

    `timeout` is the call's deadline in seconds from now; None means no deadline. `call_id` makes
    the call durable; a second call with the same id attaches to the first. `progress` is called
    in the calling thread. `stub` is the generated stub. A channel that `forebay.channel` did not
    make is wrapped, so its calls are resumed too.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        resuming = isinstance(channel, ResumingChannel)
        self._channel = channel if resuming else ResumingChannel([channel])
        self.stub = ComputeServiceStub(self._channel)

    def add(
        self, x: float, y: float, *, timeout: float | None = None, call_id: str | None = None
    ) -> float:
        """The sum x + y in IEEE 754 double precision."""
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
        """The exact factorial of n; raises ValueError if n is negative or has over 64 bits.

        Python converts at most 4,300 digits to text: to print more, raise that limit with
        `sys.set_int_max_str_digits`, or use `factorial_digits`.
        """
        return _result(self.stub.Factorial, factorial_rpc(n, progress), timeout, call_id)

    def factorial_digits(
        self,
        n: int,
        *,
        progress: OnProgress | None = None,
        timeout: float | None = None,
        call_id: str | None = None,
    ) -> Iterator[str]:
        """The decimal digits of n! in chunks of text, the leading digits first.

        Closing the iterator before its end cancels the call.
        """
        request = factorial_request(n, pb.INTEGER_ENCODING_DECIMAL)
        call = self.stub.Factorial(request, timeout=timeout, metadata=call_metadata(call_id))
        with cancelled_on_exit(call):
            for response in call:
                if not report_progress(response, progress) and response.digits:
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
        """The product a @ b of two matrices, in the smallest data type that holds both.

        Raises ValueError if the shapes don't agree, TypeError if the entries have no common data
        type. Needs NumPy.
        """
        from forebay.compute.products import product_rpc

        return _result(self.stub.MatMul, product_rpc(a, b, progress), timeout, call_id)

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
        """The m×m product of a random m×n matrix and a random n×m matrix.

        The same seed gives the same matrices; with None, each call has its own random seed. Raises
        TypeError if `dtype` is not supported. Needs NumPy.
        """
        from forebay.compute.products import random_product_rpc

        rpc = random_product_rpc(m, n, seed, dtype, progress)
        return _result(self.stub.MatMul, rpc, timeout, call_id)

    def close(self) -> None:
        """Cancels the calls in flight, and closes the connection."""
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


class _Responses(Cancellable, Iterable[CoResponseT], Protocol[CoResponseT]):
    """The call object that `grpc` returns for a method with a stream of responses."""


def _result(
    method: Callable[..., _Responses[ResponseT]],
    rpc: StreamingRpc[ResponseT, ResultT],
    timeout: float | None,
    call_id: str | None,
) -> ResultT:
    call = method(rpc.request, timeout=timeout, metadata=call_metadata(call_id))
    with cancelled_on_exit(call):
        for response in call:
            rpc.add(response)
    return rpc.assembly.result()
