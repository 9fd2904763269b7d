"""The contenders that Forebay is compared with, each in processes of its own.

`examples/tutorial/` holds the Celery tutorial's modules, word for word; only their celeryconfig.py
is changed: it reads two URLs from the environment.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.rivals import ray_environment
from bench.rivals.ray_environment import NotInstalled
from bench.rounds import Absent
from bench.systems import Backend, celery_worker, rivals_environment
from tests.harness import environment, free_port, process, short_folder

MODULES = str(Path(__file__).parents[2] / "examples" / "tutorial")
RAY_SERVE = "Ray Serve's gRPC proxy"
RAY_SERVE_HAPROXY = "Ray Serve behind its HAProxy"
_RAY_START_S = 90.0


@dataclass(frozen=True)
class Server:
    """The address that a server's processes share, and their ids."""

    address: str
    pids: tuple[int, ...]


@contextmanager
def tutorial(backend: Backend) -> Iterator[dict[str, str]]:
    """Runs the tutorial's workers for add and mat_mul; yields the environment for its callers."""
    env = rivals_environment(backend, MODULES)
    with ExitStack() as stack:
        for module, queue in (("add_module", "add"), ("mat_mul_module", "mat_mul")):
            stack.enter_context(celery_worker(module, queue, env))
        yield env


def task(env: dict[str, str], module: str, name: str) -> Any:
    """A task of the tutorial, to be called from this process, whose environment it changes."""
    os.environ.update({key: env[key] for key in env if key.startswith("TUTORIAL_")})
    if MODULES not in sys.path:
        sys.path.append(MODULES)
    return getattr(importlib.import_module(module), name)


@contextmanager
def echo(processes: int = 1) -> Iterator[Server]:
    """A bare `grpc.aio` echo server of one process, or of several that share a port."""
    with ExitStack() as stack:
        words: tuple[str, ...] = ()
        pids: list[int] = []
        for _ in range(processes):
            command = (sys.executable, "-m", "bench.rivals.echo", *words)
            running = stack.enter_context(process(*command, env=environment()))
            words = (running.wait_for(r"ready on (\S+)")[1],)
            pids.append(running.popen.pid)
        yield Server(words[0], tuple(pids))


@contextmanager
def bare_stream() -> Iterator[str]:
    """A bare `grpc.aio` server of `bench.rivals.stream.exchange`; its address."""
    with _ready("bench.rivals.stream", env=environment()) as address:
        yield address


@contextmanager
def bare_items() -> Iterator[str]:
    """A bare `grpc.aio` server that streams items as `bench.stamping` does; its address."""
    with _ready("bench.rivals.stamping", env=environment()) as address:
        yield address


@contextmanager
def servicer(env: dict[str, str], threads: int) -> Iterator[str]:
    """The hand-written servicer around the tutorial's task, with `threads` threads; its address."""
    with _ready("bench.rivals.servicer", str(threads), env=env) as address:
        yield address


@contextmanager
def ray_serve(*, haproxy: bool) -> Iterator[str | Absent]:
    """Ray Serve over gRPC: its address, or why it is absent.

    Requests go through Ray's own proxy or, with `haproxy`, through the HAProxy that Ray includes,
    which sends them directly to the replica: the fastest documented setup.
    """
    name = RAY_SERVE_HAPROXY if haproxy else RAY_SERVE
    with ExitStack() as stack:
        try:
            interpreter = ray_environment.python()
            folder = stack.enter_context(short_folder())
            running = stack.enter_context(
                process(
                    *[interpreter, str(Path(__file__).parent / "ray_serve.py")],
                    *[str(free_port()), str(free_port()), str(folder)],
                    env=_ray_settings(folder, haproxy=haproxy),
                )
            )
            found: str | Absent = running.wait_for(r"ready on (\S+)", _RAY_START_S)[1]
        except NotInstalled as reason:
            found = Absent(name, f"not installed: {reason}")
        except AssertionError as reason:
            found = Absent(name, f"did not start: {str(reason).splitlines()[-1]}")
        yield found


def _ray_settings(folder: Path, *, haproxy: bool) -> dict[str, str]:
    """Ray's variables: for speed, to keep its files in the folder, and to send no usage reports."""
    return environment(
        PYTHONPATH=str(ray_environment.ROOT / "clients" / "python"),
        HOME=str(folder),
        RAY_USAGE_STATS_ENABLED="0",
        RAY_SERVE_THROUGHPUT_OPTIMIZED="1",
        RAY_SERVE_USE_GRPC_BY_DEFAULT="1",
        RAY_SERVE_ENABLE_HA_PROXY=str(int(haproxy)),
        RAY_SERVE_HAPROXY_CONFIG_FILE_LOC=str(folder / "haproxy.cfg"),
        RAY_SERVE_HAPROXY_SOCKET_PATH=str(folder / "haproxy.sock"),
        RAY_SERVE_HAPROXY_SERVER_STATE_BASE=str(folder),
        RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH=str(folder / "metrics.sock"),
        RAY_SERVE_HAPROXY_SERVER_STATE_FILE=str(folder / "haproxy.state"),
    )


@contextmanager
def _ready(program: str, *words: str, env: dict[str, str]) -> Iterator[str]:
    with process(sys.executable, "-m", program, *words, env=env) as running:
        yield running.wait_for(r"ready on (\S+)")[1]
