"""Forebay's processes: one embedded server, a worker for each queue, gateways.

`forebay up` starts all of them. A measurement of the gateway process alone starts them one by one;
the processes run the same code either way.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import redis

from forebay_backends.embedded.server import EmbeddedServer
from forebay_backends.urls import kombu_url, redis_server
from tests.harness import Process, environment, process, short_folder

CONCURRENCY = 1
"""Pool processes of each worker, ours and the rivals'; the pool is prefork, Celery's default."""
QUEUES = ("add", "factorial", "mat_mul")
BLAS_THREADS = max(1, (os.cpu_count() or 1) // CONCURRENCY)
"""The BLAS threads of one of our workers; the rivals' workers get the same number."""

WORKERS = {"pool": "prefork", "concurrency": CONCURRENCY, "blas_threads": BLAS_THREADS}
"""How the report describes the workers."""

_BLAS = {
    name: str(BLAS_THREADS)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
}
_RIVALS_DATABASE = 1  # not Forebay's 0: both have a queue named add


@dataclass(frozen=True)
class Backend:
    """The embedded server, with the environment of Forebay's processes and the rivals' URL."""

    product_env: dict[str, str]
    rivals_url: str
    client: redis.Redis

    @property
    def server_pid(self) -> int:
        return int(self.client.info("server")["process_id"])


@contextmanager
def backend(
    settings: Mapping[str, str] | None = None, *, append_only: bool = True, **more: str
) -> Iterator[Backend]:
    """The embedded server in a folder of its own.

    The append-only file is on by default, as in the product. `settings` and `more` are environment
    variables for gateways and workers.
    """
    with (
        short_folder() as folder,
        EmbeddedServer(folder / "data") as server,
        closing(redis.Redis.from_url(server.url)) as client,
    ):
        if not append_only:
            client.config_set("appendonly", "no")
        yield Backend(
            environment(
                FOREBAY_LEDGER_URL=server.url,
                FOREBAY_LOG_LEVEL="WARNING",
                **_BLAS,
                **(settings or {}),
                **more,
            ),
            f"{kombu_url(redis_server(server.url))}?virtual_host={_RIVALS_DATABASE}",
            client,
        )


@contextmanager
def gateway(backend: Backend, processes: int = 1, *options: str) -> Iterator[tuple[str, int]]:
    """Runs a `forebay gateway`; yields its address and its process id."""
    command = ("forebay", "gateway", "--listen", "127.0.0.1:0", "--processes", str(processes))
    with process(*command, *options, env=backend.product_env) as running:
        yield running.wait_for(r"ready on (\S+)")[1], running.popen.pid


@contextmanager
def up(backend: Backend) -> Iterator[tuple[str, int]]:
    """Runs `forebay up` with all its defaults; yields the gateway's address and process id."""
    with process("forebay", "up", "--listen", "127.0.0.1:0", env=backend.product_env) as running:
        yield running.wait_for(r"ready on (\S+)")[1], running.popen.pid


@contextmanager
def workers(backend: Backend) -> Iterator[None]:
    """Runs Forebay's workers, one for each queue; a first call waits until its worker consumes."""
    with ExitStack() as stack:
        for queue in QUEUES:
            stack.enter_context(celery_worker("forebay_workers", queue, backend.product_env))
        yield


@contextmanager
def celery_worker(
    app: str, queue: str, env: dict[str, str], *options: str, pool: str = "prefork"
) -> Iterator[Process]:
    """Runs `celery worker` on one queue. All contenders get the flags that `forebay up` gives."""
    with process(
        *["celery", "-A", app, "worker", "-Q", queue, "-n", f"{app}-{queue}-{uuid.uuid4()}@%h"],
        *["--pool", pool, "--concurrency", str(CONCURRENCY), "--loglevel", "WARNING"],
        *["--without-mingle", "--without-gossip", "--without-heartbeat"],
        *options,
        env=env,
    ) as running:
        yield running


def rivals_environment(backend: Backend, modules: str) -> dict[str, str]:
    """The environment for the tutorial's modules: their two URLs, and their import path."""
    return environment(
        TUTORIAL_BROKER_URL=backend.rivals_url,
        TUTORIAL_RESULT_BACKEND=backend.rivals_url,
        PYTHONPATH=modules,
        **_BLAS,
    )
