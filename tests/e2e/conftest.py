"""A site of several gateways on one Redis, for tests that end gateways."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from forebay_backends.ledger.keys import CallKey
from forebay_backends.settings import Settings
from tests.certificates import Authority, Issued, TlsFiles
from tests.conftest import Up
from tests.contract.records import parse_watches
from tests.harness import (
    Process,
    environment,
    eventually,
    forebay_gateway,
    process,
    redis_server,
    worker,
)
from tests.reports.running import COROUTINES, Reports, running_reports

ROOT = Path(__file__).parents[2]
LINGER_S = Settings().linger_s


class Gateway:
    """A running gateway."""

    def __init__(self, process: Process, address: str) -> None:
        self.process = process
        self.address = address

    @property
    def is_live(self) -> bool:
        """Whether no test has ended it."""
        return self.process.popen.poll() is None

    def end(self, number: int = signal.SIGKILL) -> None:
        """Ends it, and waits until it has."""
        self.process.stop(number)


class Site:
    """A Redis, and workers of EchoService and ComputeService. Tests start and end gateways."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.env = environment(
            FOREBAY_LEDGER_URL=url,
            FOREBAY_SERVICES='["tests.echo.v1.echo_pb2", "forebay.compute.v1.compute_pb2"]',
            FOREBAY_WINDOW_BYTES="1000000",
            FOREBAY_DRAIN_S="0.2",
        )
        self.ledger = redis.Redis.from_url(url)
        self._gateways: list[Gateway] = []
        self._running = ExitStack()

    def gateway(self, listen: str = "127.0.0.1:0", *flags: str) -> Gateway:
        """Starts another gateway."""
        command = ("--listen", listen, *flags)
        running = forebay_gateway(*command, env=self.env, cwd=ROOT)
        gateway = Gateway(*self._running.enter_context(running))
        self._gateways.append(gateway)
        return gateway

    def targets(self, count: int = 2) -> list[str]:
        """The addresses of `count` running gateways; starts those that are missing."""
        live = [gateway for gateway in self._gateways if gateway.is_live]
        live += [self.gateway() for _ in range(count - len(live))]
        return [gateway.address for gateway in live[:count]]

    def end(self, address: str, number: int = signal.SIGKILL) -> None:
        """Ends the gateway at the address."""
        (gateway,) = [g for g in self._gateways if g.address == address and g.is_live]
        gateway.end(number)

    def end_all(self) -> None:
        """Ends all gateways."""
        for gateway in self._gateways:
            if gateway.is_live:
                gateway.end()

    def end_gateway_of(self, call_id: str, number: int = signal.SIGKILL) -> Gateway:
        """Ends the gateway that watches the call."""
        eventually(lambda: bool(self.watchers(call_id)), "a gateway watches the call")
        (watcher,) = self.watchers(call_id)
        (gateway,) = [g for g in self._gateways if f".{g.process.popen.pid}." in watcher]
        gateway.end(number)
        return gateway

    def field(self, call_id: str, name: str) -> str:
        """A field of the call's record, empty if there is none."""
        call = CallKey(call_id)
        return (self.ledger.hget(f"{call.partition}:call:{call}", name) or b"").decode()

    def wait_for_cancel(self, call_id: str) -> None:
        """Waits until the call is cancelled; fails if that was only when its linger ended."""
        eventually(lambda: self.field(call_id, "state") == "CANCELLED", "it is cancelled")
        abandoned_ms = self.field(call_id, "abandoned_at")
        if abandoned_ms:
            assert int(self.field(call_id, "finished_at")) - int(abandoned_ms) < LINGER_S * 1000

    def watchers(self, call_id: str) -> set[str]:
        """The channels of the gateways that watch the call."""
        return set(parse_watches(self.field(call_id, "watchers")))

    def close(self) -> None:
        """Ends the gateways."""
        self._running.close()
        self.ledger.close()


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """Everything but the gateways, once a session."""
    with redis_server() as url:
        site = Site(url)
        echo = ["celery", "-A", "tests.echo.worker", "worker", "-Q", "echo", "-l", "INFO"]
        options = ["--pool", "threads", "--concurrency", "4", "--without-mingle"]
        with (
            process(*echo, *options, "--without-gossip", env=site.env, cwd=ROOT) as echoes,
            worker("-Q", "add,factorial,mat_mul", "--concurrency", "1", env=site.env),
        ):
            echoes.wait_for(r" ready\.")
            yield site
            site.close()


@pytest.fixture(
    scope="session",
    params=[
        "redis",
        pytest.param("rabbitmq", marks=pytest.mark.variant),
        pytest.param("coroutines", marks=pytest.mark.variant),
    ],
)
def reports(request: pytest.FixtureRequest) -> Iterator[Reports]:
    """A gateway and a worker of ReportService, once a session."""
    more = {}
    if request.param == "rabbitmq":
        more["FOREBAY_BROKER_URL"] = request.getfixturevalue("rabbitmq").url("operations")
    if request.param == "coroutines":
        more = {"app": COROUTINES, "pool": "asyncio"}
    with running_reports(**more) as reports:
        yield reports


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The file of a gate at which a handler waits, until the test creates it."""
    return tmp_path / "open"


@dataclass(frozen=True)
class MutualTls:
    """A gateway that requires certificates of callers, and a caller's files."""

    address: str
    authority: Authority
    client: Issued

    @property
    def options(self) -> list[str]:
        """Those of a command that calls it."""
        files = {"--ca": self.authority.ca, "--cert": self.client.certificate}
        options = {**files, "--key": self.client.key}
        return [word for name, file in options.items() for word in (name, str(file))]

    @property
    def variables(self) -> dict[str, str]:
        """Those of a client that calls it."""
        return {
            "FOREBAY_CLIENT__CA": str(self.authority.ca),
            "FOREBAY_CLIENT__CERT": str(self.client.certificate),
            "FOREBAY_CLIENT__KEY": str(self.client.key),
        }


@pytest.fixture(scope="session")
def mutual(up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MutualTls]:
    """With the workers of `up`."""
    folder = tmp_path_factory.mktemp("mutual")
    authority = Authority(folder)
    files = TlsFiles(folder, authority.issue("server", "127.0.0.1"), authority.ca)
    client = authority.issue("client", "spiffe://prod.example/ns/acme/sa/shop")
    with forebay_gateway(env={**up.env, **files.variables()}) as (_, address):
        yield MutualTls(address, authority, client)
