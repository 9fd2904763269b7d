"""HTTP/2 attacks on a gateway: when it ends the connection, and what the attack costs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.contract.fronts import attacks
from tests.contract.fronts.attacks import BOUNDED, FLOODS, WATCH
from tests.harness import environment, forebay_gateway, redis_server

ROOT = Path(__file__).parents[2]
_MAX_BYTES, _MAX_S = 64 << 20, 10.0
_SETTLE_S = 1.0


def attacked(front: str) -> str:
    """A Markdown row for each attack, on a gateway of its own."""
    rows = []
    with redis_server() as url:
        env = environment(FOREBAY_LEDGER_URL=url, FOREBAY_FRONT=front)
        for attack in (*FLOODS, *BOUNDED):
            with forebay_gateway(env=env, cwd=ROOT) as (process, address):
                gateway = psutil.Process(process.popen.pid)
                before_s, before = _cpu_s(gateway), gateway.memory_info().rss
                with _sampled(gateway, address) as most:
                    outcome = attacks.run(address, attack, WATCH, _MAX_BYTES, _MAX_S)
                    time.sleep(_SETTLE_S)
                end = f"after {outcome.sent_bytes / 1e6:.1f} MB" if outcome.cut_off else "no"
                rows.append(
                    f"| {attack.name} | {end} | {_cpu_s(gateway) - before_s:.2f} s | "
                    f"{(most['rss'] - before) / 1e6:.0f} MB | {most['call_s'] * 1000:.0f} ms |"
                )
    return "\n".join(rows)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def _sampled(gateway: psutil.Process, address: str) -> Iterator[dict[str, float]]:
    """Samples the gateway's peak memory, and another caller's slowest call, during the block."""
    most = {"rss": 0.0, "call_s": 0.0}
    done = threading.Event()

    def sample() -> None:
        with grpc.insecure_channel(address) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
            check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
            while not done.wait(0.005):
                began = time.monotonic()
                check(health_pb2.HealthCheckRequest())
                most["call_s"] = max(most["call_s"], time.monotonic() - began)
                most["rss"] = max(most["rss"], gateway.memory_info().rss)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()
