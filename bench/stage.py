"""Systems that several measurements share, started on first use."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import Self

from bench import callers, rivals, systems
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub


class Stage:
    """The product as `forebay up` runs it, and the tutorial's workers on the same server.

    A measurement that needs another arrangement starts its own, from `systems`. All that
    was started here runs until the block is left.
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
        """The gateway's."""
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
        """The environment in which the tutorial's tasks are called; its workers run."""
        return self._stack.enter_context(rivals.tutorial(self.backend))

    @cached_property
    def echo(self) -> rivals.Server:
        """The bare `grpc.aio` server."""
        return self._stack.enter_context(rivals.echo())

    @cached_property
    def _gateway(self) -> tuple[str, int]:
        return self._stack.enter_context(systems.up(self.backend))
