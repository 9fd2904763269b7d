"""A primary and its replica."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.faults.backend import Server, server
from tests.harness import eventually


def replicate(primary: Server, replica: Server) -> None:
    """Lets the replica follow the primary; returns when it is in sync."""
    replica.do(f"REPLICAOF 127.0.0.1 {primary.port}")
    eventually(lambda: _in_sync(replica), "the replica is in sync")


def is_primary(one: Server) -> bool:
    role: Any = one.client.role()
    return bool(role[0] == b"master")


@contextlib.contextmanager
def replicated() -> Iterator[tuple[Server, Server]]:
    """A primary and a replica that is in sync, until the block is left."""
    with server() as primary, server() as replica:
        replicate(primary, replica)
        yield primary, replica


def _in_sync(replica: Server) -> bool:
    role: Any = replica.client.role()
    return bool(role[0] == b"slave" and role[3] == b"connected")
