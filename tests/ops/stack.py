"""A loaded stack: Redis, a gateway of two processes with TLS, a worker, and Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.certificates import Authority
from tests.harness import environment, forebay_gateway, free_port, redis_server, worker
from tests.ops.load import load
from tests.ops.prometheus import Prometheus, prometheus


@contextmanager
def loaded_stack(
    folder: Path, scrape_interval: str = "1s", kill_every_s: float = 2.0
) -> Iterator[Prometheus]:
    """Calls go through it, and children of the worker are killed, until the block is left."""
    admin, metrics = (f"127.0.0.1:{free_port()}" for _ in range(2))
    authority = Authority(folder)
    shown = authority.issue("gateway", "127.0.0.1")
    with redis_server() as url:
        env = environment(FOREBAY_LEDGER_URL=url, FOREBAY_DRAIN_S="0")
        gateway_env = {
            **env,
            "FOREBAY_ADMIN_LISTEN": admin,
            "FOREBAY_TLS__CERTIFICATE": str(shown.certificate),
            "FOREBAY_TLS__KEY": str(shown.key),
        }
        queues = ("-Q", "add,factorial,mat_mul", "--concurrency", "2")
        with (
            worker(*queues, "--metrics", metrics, env=env) as running,
            forebay_gateway("--processes", "2", env=gateway_env) as (_, address),
            load(address, authority.ca, running.popen.pid, kill_every_s),
            prometheus(folder, [admin], [metrics], scrape_interval) as found,
        ):
            yield found
