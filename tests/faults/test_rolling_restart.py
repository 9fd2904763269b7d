"""Gateways behind a proxy are restarted one after the other, while plain stubs call."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import grpc
import pytest

from tests.echo.running import ROOT
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.faults.backend import server
from tests.faults.echoes import worker
from tests.faults.proxies import PROXIES, proxy
from tests.harness import Process, environment, eventually, forebay_gateway, free_port

LAME_DUCK_S = 2.0
CALLERS = 4
MAX_FAILED = 0.005


class Load:
    """Plain stubs that call all the time; counts how the calls ended."""

    def __init__(self, address: str) -> None:
        self.ended: Counter[str] = Counter()
        self._address = address
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    @property
    def failed(self) -> int:
        return self.ended.total() - self.ended["OK"]

    def _call(self) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self._address, options=options) as channel:
            stub = EchoServiceStub(channel)
            while not self._stopped.wait(0.01):
                try:
                    stub.Quick(EchoRequest(text="hello"), timeout=20)
                    self.ended["OK"] += 1
                except grpc.RpcError as error:
                    self.ended[f"{error.code().name}: {error.details()}"] += 1

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in self._threads:
                thread.join()


@pytest.mark.parametrize(
    "name",
    [PROXIES[0], *(pytest.param(proxy, marks=pytest.mark.variant) for proxy in PROXIES[1:])],
)
def test_a_rolling_restart_behind_a_proxy_fails_hardly_any_call(name: str) -> None:
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        ledger = stack.enter_context(server("everysec"))
        env = environment(
            FOREBAY_LEDGER_URL=ledger.url,
            FOREBAY_SERVICES='["tests.echo.v1.echo_pb2"]',
            FOREBAY_LAME_DUCK_S=str(LAME_DUCK_S),
        )

        def start(port: int) -> Process:
            command = ("--listen", f"127.0.0.1:{port}")
            return stack.enter_context(forebay_gateway(*command, env=env, cwd=ROOT))[0]

        stack.enter_context(worker(FOREBAY_LEDGER_URL=ledger.url))
        gateways = [start(port) for port in ports]
        load = Load(stack.enter_context(proxy(name, ports)))
        with load.running():
            for number, port in enumerate(ports):
                before = load.ended.total()
                began = time.monotonic()
                gateways[number].stop(signal.SIGTERM)
                assert time.monotonic() - began > LAME_DUCK_S
                gateways[number] = start(port)
                time.sleep(2)  # a rolling restart leaves the proxy time to find the new gateway
                assert load.ended.total() > before
            eventually(lambda: load.ended.total() > 200, "many calls end")
        assert load.failed <= MAX_FAILED * load.ended.total(), load.ended
