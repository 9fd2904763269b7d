"""Gateways and workers of EchoService, as processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.harness import Process, environment, forebay_gateway, free_port, process

ROOT = Path(__file__).parents[2]
ECHO_APP, COROUTINES_APP = "tests.echo.worker", "tests.echo.aio_worker"


def echo_environment(**variables: str) -> dict[str, str]:
    """The environment of gateways and workers that serve EchoService."""
    return environment(**{"FOREBAY_SERVICES": '["tests.echo.v1.echo_pb2"]', **variables})


@contextlib.contextmanager
def echo_gateway(env: dict[str, str]) -> Iterator[tuple[Process, str]]:
    """A gateway on a free port; the process and the address."""
    with forebay_gateway(env=env, cwd=ROOT) as running:
        yield running


@contextlib.contextmanager
def echo_worker(
    env: Mapping[str, str],
    pool: str = "threads",
    slots: int = 2,
    app: str = ECHO_APP,
    level: str = "INFO",
    options: Sequence[str] = (),
) -> Iterator[Process]:
    """A worker of EchoService, ready. Its pool may be asyncio, which is Forebay's."""
    with starting_echo_worker(env, pool, slots, app, level, options) as worker:
        worker.wait_for(r" ready\.")
        yield worker


def starting_echo_worker(
    env: Mapping[str, str],
    pool: str = "threads",
    slots: int = 2,
    app: str = ECHO_APP,
    level: str = "INFO",
    options: Sequence[str] = (),
) -> contextlib.AbstractContextManager[Process]:
    """The same, but not yet ready."""
    name = f"test-{free_port()}@%h"
    pool, variables = pool_option(pool)
    return process(
        *["celery", "-A", app, "worker", "-Q", "echo", "-l", level, "-n", name],
        *["--pool", pool, "--concurrency", str(slots), "--without-mingle", "--without-gossip"],
        *options,
        env={**env, **variables},
        cwd=ROOT,
    )


def pool_option(pool: str) -> tuple[str, dict[str, str]]:
    """The value of `--pool`, and the variables that it needs."""
    if pool != "asyncio":
        return pool, {}
    return "custom", {"CELERY_CUSTOM_WORKER_POOL": "forebay_workers.asyncio_pool:TaskPool"}
