"""An outage produces few log lines, however many calls wait for its end."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack

import pytest

from tests.echo.v1.echo_pb2 import EchoRequest
from tests.faults.backend import server
from tests.faults.echoes import gateway, slow, take, worker
from tests.harness import eventually

AWAY_S = 40.0
RECORD = " (INFO|WARNING|ERROR|CRITICAL) |: (INFO|WARNING|ERROR|CRITICAL)/"
"""The first line of a record of the gateway's log, or of Celery's."""
MOST_LINES = {"gateway": 12, "worker": 16}
"""A process has a few loops that log an outage each; before, 40 s took 200 and 760 lines."""
BACK = {"ledger": "the ledger answers again, after", "broker": "the broker answers again, after"}
BACK_AT_WORKER = {"ledger": "again, after", "broker": "Connected to redis"}
"""Celery itself logs the connections of a worker to its broker."""


@pytest.mark.variant
@pytest.mark.parametrize("away", ["ledger", "broker"])
def test_an_outage_of_40_s_takes_few_lines_and_its_end_is_logged(away: str) -> None:
    with ExitStack() as stack:
        servers = {name: stack.enter_context(server()) for name in ("ledger", "broker")}
        urls = {f"FOREBAY_{name.upper()}_URL": each.url for name, each in servers.items()}
        serving = stack.enter_context(gateway(**urls))
        working = stack.enter_context(worker("threads", **urls))
        eventually(serving.serving, "the gateway serves")
        streams = [serving.stub.ServerStream(slow(1000, 0.5), timeout=110) for _ in range(4)]
        for stream in streams:
            take(stream, 1)
        before = {"gateway": len(serving.process.lines), "worker": len(working.lines)}
        servers[away].kill()
        until = time.monotonic() + AWAY_S
        while time.monotonic() < until:
            serving.stub.Quick.future(EchoRequest(text="x"), timeout=1).exception()
        during = {
            "gateway": serving.process.lines[before["gateway"] :],
            "worker": working.lines[before["worker"] :],
        }
        earlier = len(working.lines)
        servers[away].start()
        eventually(lambda: BACK[away] in serving.process.output, "the gateway logs the end")
        eventually(
            lambda: BACK_AT_WORKER[away] in "".join(working.lines[earlier:]),
            "the worker logs the end",
        )
        for name, lines in during.items():
            logged = [line for line in lines if re.search(RECORD, line)]
            assert 0 < len(logged) <= MOST_LINES[name], "".join(lines)
        for stream in streams:
            stream.cancel()
