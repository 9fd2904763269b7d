"""The embedded server, as gateways and workers find it."""

from __future__ import annotations

import os
import signal
import threading

import redis

from forebay_backends.embedded.server import EmbeddedServer, is_running
from tests.harness import short_folder


def test_a_server_that_is_slow_to_answer_runs() -> None:
    with short_folder() as folder, EmbeddedServer(folder / "data") as server:
        with redis.Redis.from_url(server.url) as client:
            pid = client.info("server")["process_id"]
        os.kill(pid, signal.SIGSTOP)
        go_on = threading.Timer(1.5, os.kill, (pid, signal.SIGCONT))
        go_on.start()
        try:
            assert is_running(folder / "data")
        finally:
            go_on.join()
