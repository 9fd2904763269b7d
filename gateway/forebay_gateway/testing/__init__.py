"""A service with all that it needs, inside a test: embedded Valkey, worker and gateway.

`serving` is for any test runner. For pytest, `pytest_plugins = ["forebay_gateway.testing"]` in
the topmost `conftest.py` brings the fixtures `forebay_service` and `forebay_channel`.

This package alone imports both gateway and workers, and neither before it is used.

PYTEST_DONT_REWRITE: a `conftest.py` may import this before pytest does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forebay_gateway.testing.reused_service import ReusedService

if TYPE_CHECKING:
    import grpc
    from google.protobuf.descriptor import ServiceDescriptor

    from forebay_workers.application import Handlers

__all__ = ["Service", "serving"]

pytest_plugins = ["forebay_gateway.testing.fixtures"]

CONCURRENCY = 8


@dataclass(frozen=True)
class Service:
    """A running service: its gateway's address, HOST:PORT, and a channel to that.

    The channel is closed with the service. For asyncio, make one of the address.
    """

    address: str
    channel: grpc.Channel


kept: ReusedService[Service] = ReusedService()
"""What the fixtures started last."""


@contextmanager
def serving(
    services: Mapping[ServiceDescriptor, Handlers],
    *,
    concurrency: int = CONCURRENCY,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Service]:
    """Serves the services until the block is left: what `application` takes, live.

    The worker's threads, in this process, run `concurrency` calls at a time. `settings` are
    Forebay's (docs/settings.md) by name; environment and `forebay.toml` have no say. A
    process serves one such set of services at a time.

    When the block is left, calls that still run are told that they are over, and nothing is
    left: no process, folder or thread. Raises RouteError, LookupError and SettingsError for
    what is wrong in services and settings, EmbeddedServerError where there is no Valkey, and
    forebay_workers.in_process.WorkerError where a handler does not come to its end.
    """
    try:
        from forebay_gateway.testing.service import running_site
    except ImportError as error:
        raise ImportError(f"testing needs {error.name}: pip install 'forebay[testing]'") from error

    kept.make_way()
    with running_site(services, concurrency, settings or {}) as (address, channel):
        yield Service(address, channel)
