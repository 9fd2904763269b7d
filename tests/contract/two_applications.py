"""An application of Forebay's and a plain Celery application, on one Redis, in one process."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

import redis
from celery import Celery

from forebay_workers import application
from tests.echo.v1 import echo_pb2
from tests.echo.worker import EchoServicer

QUEUES = {"ours": "test-ours", "plain": "test-plain"}
REPORTS = "reports"

BROKER_URL = os.environ.get("FOREBAY_LEDGER_URL", "")

ours = application("ours", {echo_pb2.DESCRIPTOR.services_by_name["EchoService"]: EchoServicer()})
plain = Celery("plain", broker=BROKER_URL, set_as_current=False)
plain.conf.accept_content = ["json"]


def _declare(app: Any) -> None:
    @app.task(name="report", shared=False, ignore_result=True)
    def report() -> None:
        """Pushes facts about this process onto a list."""
        report = {
            "run by": app.main,
            "ours": _transport(ours),
            "plain": _transport(plain),
            "keeps leases": any(one.name == "forebay-keeper" for one in threading.enumerate()),
        }
        with redis.Redis.from_url(BROKER_URL) as server:
            server.lpush(REPORTS, json.dumps(report))


def _transport(app: Celery) -> str:
    with app.connection_for_read() as connection:
        return type(connection.transport).__module__


_declare(ours)
_declare(plain)
