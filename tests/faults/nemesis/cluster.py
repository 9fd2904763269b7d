"""The cluster under test: Redis, perhaps RabbitMQ, two gateways and two workers or more."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.faults.nemesis.excuses import CANCEL_GRACE_S
from tests.faults.nemesis.link import Link, Links, links
from tests.faults.nemesis.member import Member
from tests.faults.nemesis.plans import QUEUES
from tests.harness import (
    START_TIMEOUT_S,
    environment,
    eventually,
    free_port,
    redis_binary,
    short_folder,
)
from tests.rabbitmq import READY as RABBITMQ_READY
from tests.rabbitmq import SERVER as RABBITMQ_SERVER
from tests.rabbitmq import START_TIMEOUT_S as RABBITMQ_START_TIMEOUT_S
from tests.rabbitmq import RabbitMQ, rabbitmq_folder
from tests.survival.work_log import MEMBER_VARIABLE, PATH_VARIABLE

ROOT = Path(__file__).parents[3]
LINGER_S = 120.0
"""Long enough for every caller that reconnects."""
SLOTS = 4
"""The concurrent calls of a worker; most of them sleep."""
ATTEMPTS = 100
"""So high that it is never reached: then the loss of a worker does not excuse a failed call."""
_MARK_VARIABLE = "NEMESIS_CLUSTER"
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True)
class Shape:
    """The members of the cluster."""

    pools: tuple[str, ...] = ("prefork", "threads")
    gateways: int = 2
    appendfsync: str = "always"
    rabbitmq: bool = False

    def __str__(self) -> str:
        broker = "RabbitMQ" if self.rabbitmq else "Redis"
        return f"{broker}, appendfsync {self.appendfsync}, {' '.join(self.pools)}"


OTHER_SHAPES = (
    Shape(pools=("prefork", "threads", "prefork")),
    Shape(appendfsync="everysec"),
    Shape(rabbitmq=True),
)


class Cluster:
    """Running processes and the links between them and Redis."""

    def __init__(self, shape: Shape, folder: Path, made: Links, rabbitmq: RabbitMQ | None) -> None:
        self.shape = shape
        self.mark = uuid.uuid4().hex
        self.work_log = folder / "work.log"
        self.members: dict[str, Member] = {}
        self.links: dict[str, Link] = {}
        self.addresses: dict[str, str] = {}
        self.at_peace: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Held while a member is harmed: one fault at a time."""
        self.redis_port = free_port()
        self._folder = folder
        self._made = made
        self._rabbitmq = rabbitmq
        self._add_servers()
        for number in range(1, shape.gateways + 1):
            self._add_gateway(f"gateway-{number}")
        for number, pool in enumerate(shape.pools, 1):
            self._add_worker(f"worker-{number}", pool)

    def start(self) -> None:
        """Starts all members; returns when they are ready."""
        servers = [name for name in self.members if name in ("redis", "rabbitmq")]
        self._start(servers, RABBITMQ_START_TIMEOUT_S)
        self._start([name for name in self.members if name not in servers], START_TIMEOUT_S)

    def _start(self, names: list[str], timeout_s: float) -> None:
        for name in names:
            self.members[name].keep_up()

        def awaited() -> str:
            late = [self.members[name] for name in names if not self.members[name].ready]
            return "\n".join(f"{one.name} is ready:\n{one.output}" for one in late)

        eventually(lambda: self.ready(names), awaited, timeout_s)

    def ready(self, names: list[str] | None = None) -> bool:
        """Whether the given members, by default all, are ready."""
        return all(self.members[name].ready for name in names or self.members)

    async def keep_up(self) -> None:
        """Restarts members that have ended, until cancelled."""
        while True:
            for member in self.members.values():
                member.keep_up()
            await asyncio.sleep(_LOOK_EVERY_S)

    def end(self) -> list[str]:
        """Ends all members, servers last; returns those that did not end properly."""
        unruly = [
            f"{name} had to be killed"
            for name in reversed(self.members)
            if not self.members[name].end()
        ]
        with contextlib.suppress(AssertionError):
            eventually(lambda: not self._left_over(), "no process is left over", 5.0)
        for process in self._left_over():
            unruly.append(f"left over: {process}")
            with contextlib.suppress(psutil.Error):
                process.kill()
        return unruly

    def _left_over(self) -> list[psutil.Process]:
        """Processes of the cluster that still run, with any parent."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(_MARK_VARIABLE) == self.mark:
                    found.append(process)
        return found

    def _add_servers(self) -> None:
        self._add(
            "redis",
            *[redis_binary(), "--port", str(self.redis_port), "--bind", "127.0.0.1"],
            *["--dir", str(self._folder), "--save", "", "--appendonly", "yes"],
            *["--appendfsync", self.shape.appendfsync],
            env=self._environment("redis"),
            ready="Ready to accept connections",
        )
        if self._rabbitmq is not None:
            env = {**self._rabbitmq.env, _MARK_VARIABLE: self.mark}
            self.members["rabbitmq"] = Member(
                "rabbitmq", [str(RABBITMQ_SERVER)], env, RABBITMQ_READY, self._rabbitmq.folder
            )

    def _add_gateway(self, name: str) -> None:
        self.addresses[name] = f"127.0.0.1:{free_port()}"
        command = ["forebay", "gateway", "--listen", self.addresses[name]]
        self._add(name, *command, env=self._settings(name), ready=r"ready on (\S+)")

    def _add_worker(self, name: str, pool: str) -> None:
        queues = QUEUES if pool == "prefork" else QUEUES[:1]
        self._add(
            name,
            *["celery", "-A", "tests.survival.worker", "worker", "-Q", ",".join(queues)],
            *["-l", "INFO", "-n", f"{name}@%h", "--pool", pool, "--concurrency", str(SLOTS)],
            *["--without-mingle", "--without-gossip"],
            env=self._settings(name),
            ready=r" ready\.",
        )

    def _add(self, name: str, *command: str, env: dict[str, str], ready: str) -> None:
        self.members[name] = Member(name, command, env, ready, ROOT)

    def _settings(self, name: str) -> dict[str, str]:
        self.links[name] = self._made.to(self.redis_port)
        env = self._environment(name)
        env.update(
            FOREBAY_LEDGER_URL=f"redis://127.0.0.1:{self.links[name].port}/0",
            FOREBAY_SERVICES='["tests.survival.v1.survival_pb2"]',
            FOREBAY_LINGER_S=str(LINGER_S),
            FOREBAY_QUEUE_WAIT_S="600",
            FOREBAY_ATTEMPTS=str(ATTEMPTS),
            FOREBAY_DRAIN_S="1",
            FOREBAY_CANCEL_GRACE_S=str(CANCEL_GRACE_S),
            FOREBAY_WINDOW_BYTES="300000",
            FOREBAY_LOG_LEVEL="INFO",
        )
        if self._rabbitmq is not None:
            env["FOREBAY_BROKER_URL"] = self._rabbitmq.url("nemesis")
        return env

    def _environment(self, name: str) -> dict[str, str]:
        return environment(
            **{
                _MARK_VARIABLE: self.mark,
                MEMBER_VARIABLE: name,
                PATH_VARIABLE: str(self.work_log),
                "PYTHONUNBUFFERED": "1",
            }
        )


@contextlib.contextmanager
def cluster(shape: Shape) -> Iterator[Cluster]:
    """A running cluster; nothing of it remains when the block is left."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        made = stack.enter_context(links())
        rabbitmq = stack.enter_context(rabbitmq_folder()) if shape.rabbitmq else None
        running = Cluster(shape, folder, made, rabbitmq)
        stack.callback(running.end)
        running.start()
        yield running
