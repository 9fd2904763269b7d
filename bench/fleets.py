"""Fleets of gateways and workers, each fleet on an embedded server of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench import systems
from forebay_backends.ledger.keys import PRESENCE_INDEX
from tests.harness import eventually


@dataclass(frozen=True)
class Fleet:
    """The addresses and process ids of a fleet's gateways."""

    addresses: tuple[str, ...]
    pids: tuple[int, ...]


@contextmanager
def fleet(
    gateways: int, workers: int, app: str, queue: str, services: Sequence[str] = ()
) -> Iterator[Fleet]:
    """Starts a fleet, and yields it when all gateways and workers are live.

    Fleets of different sizes can run side by side, so that measurements of them take turns.
    """
    settings = {"FOREBAY_SERVICES": json.dumps(services)} if services else {}
    with systems.backend(settings) as backend, ExitStack() as stack:
        for _ in range(workers):
            stack.enter_context(systems.celery_worker(app, queue, backend.product_env))
        running = [stack.enter_context(systems.gateway(backend)) for _ in range(gateways)]
        eventually(
            lambda: int(backend.client.zcard(PRESENCE_INDEX)) == workers,
            f"{workers} workers are live",
        )
        yield Fleet(tuple(address for address, _ in running), tuple(pid for _, pid in running))
