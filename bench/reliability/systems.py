"""A gateway and prefork workers of the tests' EchoService."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from forebay_backends.ledger.keys import CallKey
from tests.harness import Process, environment, forebay_gateway, process, short_folder

ROOT = Path(__file__).parents[2]
GRACE_S = 1.0
"""`cancel_grace_s` of these systems."""


class EchoSystem:
    """One gateway; the measurement starts and kills workers."""

    def __init__(self, stack: ExitStack, env: dict[str, str], gateway: Process, address: str):
        self._stack = stack
        self._env = env
        self.gateway = gateway
        self.address = address
        self.ledger = redis.Redis(unix_socket_path=f"{env['FOREBAY_DATA_DIR']}/ledger.sock")
        stack.callback(self.ledger.close)
        self._started = 0

    def worker(self, concurrency: int) -> Process:
        """Starts one more prefork worker, and returns it when it is ready."""
        self._started += 1
        child = self._stack.enter_context(
            process(
                *["celery", "-A", "tests.echo.worker", "worker", "-Q", "echo", "-l", "INFO"],
                *["--concurrency", str(concurrency), "-n", f"w{self._started}@%h"],
                *["--without-mingle", "--without-gossip"],
                env=self._env,
                cwd=ROOT,
            )
        )
        child.wait_for(r" ready\.")
        return child

    def attempt(self, call_id: str) -> tuple[str, str]:
        """The call's state and the number of its attempt."""
        call = CallKey(call_id)
        found: Any = self.ledger.hmget(f"{call.partition}:call:{call}", "state", "attempt")
        state, attempt = ((value or b"").decode() for value in found)
        return state, attempt


@contextmanager
def echo_system() -> Iterator[EchoSystem]:
    """An EchoSystem on an embedded server in a folder of its own."""
    with short_folder() as folder, ExitStack() as stack:
        env = environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            FOREBAY_SERVICES='["tests.echo.v1.echo_pb2"]',
            FOREBAY_CANCEL_GRACE_S=str(GRACE_S),
            FOREBAY_LINGER_S="0",
            FOREBAY_QUEUE_WAIT_S="600",
        )
        gateway, address = stack.enter_context(forebay_gateway(env=env, cwd=ROOT))
        yield EchoSystem(stack, env, gateway, address)
