"""Systems that several measurements share, started on first use."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import Self

from bench import callers, rivals, systems
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub


class Stage:
    """Forebay as `forebay up` runs it, the tutorial's workers on its server, and a bare gRPC echo.

    Each starts on first use and runs until the block is left. A measurement that needs another
    arrangement starts its own, with `bench.systems`.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @cached_property
    def backend(self) -> systems.Backend:
        """The embedded server, append-only file on."""
        return self._stack.enter_context(systems.backend())

    @property
    def address(self) -> str:
        """The gateway's address."""
        return self._gateway[0]

    @property
    def gateway_pid(self) -> int:
        """The gateway's process id; the workers are its children."""
        return self._gateway[1]

    @cached_property
    def stub(self) -> ComputeServiceStub:
        """A synchronous stub on a channel to the gateway."""
        return ComputeServiceStub(self._stack.enter_context(callers.channel(self.address)))

    @cached_property
    def tutorial_env(self) -> dict[str, str]:
        """The environment in which to call the tutorial's tasks; their workers are running."""
        return self._stack.enter_context(rivals.tutorial(self.backend))

    @cached_property
    def echo(self) -> rivals.Server:
        """The bare `grpc.aio` echo server."""
        return self._stack.enter_context(rivals.echo())

    @cached_property
    def _gateway(self) -> tuple[str, int]:
        return self._stack.enter_context(systems.up(self.backend))
