"""A worker's queues change while it runs, by Celery's remote control: its presence follows."""

from __future__ import annotations

import json
from typing import Any

from forebay_backends.ledger.keys import PRESENCE_INDEX, presence_key
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.faults.backend import Server, server
from tests.faults.echoes import ROOT, TIMEOUT_S, gateway, worker
from tests.harness import environment, eventually, process


def _announced(ledger: Server) -> set[str]:
    names: Any = ledger.client.zrange(PRESENCE_INDEX, 0, -1)
    (text,) = ledger.client.mget([presence_key(name.decode()) for name in names])  # type: ignore[misc]
    return set(json.loads(text)["queues"])


def _control(url: str, *command: str) -> None:
    env = environment(FOREBAY_LEDGER_URL=url)
    options = ("celery", "-A", "tests.echo.worker", "control", *command)
    with process(*options, env=env, cwd=ROOT) as control:
        assert control.ended() == 0, control.output


def test_a_cancelled_and_an_added_queue_are_announced_and_consumed() -> None:
    with (
        server() as ledger,
        gateway(FOREBAY_LEDGER_URL=ledger.url) as running,
        worker(FOREBAY_LEDGER_URL=ledger.url),
    ):
        eventually(lambda: bool(ledger.client.zcard(PRESENCE_INDEX)), "the worker is announced")
        assert _announced(ledger) == {"echo"}
        _control(ledger.url, "cancel_consumer", "echo")
        eventually(lambda: _announced(ledger) == set(), "the presence has no queue")
        _control(ledger.url, "add_consumer", "echo")
        eventually(lambda: _announced(ledger) == {"echo"}, "the presence has the queue")
        assert running.stub.Unary(EchoRequest(text="hello"), timeout=TIMEOUT_S).text == "hello"
