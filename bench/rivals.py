"""What Forebay is measured against: the tutorial's Celery tasks, and a bare gRPC server."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.systems import Backend, celery_worker, rivals_environment
from tests.harness import environment, process

MODULES = str(Path(__file__).parent / "rivals")
"""The tutorial's modules, word for word; they read the two URLs from the environment."""


@contextmanager
def tutorial(backend: Backend) -> Iterator[dict[str, str]]:
    """The tutorial's workers for add and mat_mul; the environment that its callers need."""
    env = rivals_environment(backend, MODULES)
    with ExitStack() as stack:
        for module, queue in (("add_module", "add"), ("mat_mul_module", "mat_mul")):
            stack.enter_context(celery_worker(module, queue, env))
        yield env


def task(env: dict[str, str], module: str, name: str) -> Any:
    """A task of the tutorial's, to be called from this process."""
    os.environ.update({key: env[key] for key in env if key.startswith("TUTORIAL_")})
    if MODULES not in sys.path:
        sys.path.append(MODULES)
    return getattr(importlib.import_module(module), name)


@contextmanager
def echo() -> Iterator[str]:
    """A bare `grpc.aio` server that gives back what it gets, in a process of its own."""
    with process(sys.executable, "-m", "bench.echo", env=environment()) as running:
        yield running.wait_for(r"ready on (\S+)")[1]
