"""A running service inside a test: embedded Valkey, worker and gateway.

`serving` works with any test runner. For pytest, `pytest_plugins = ["forebay_gateway.testing"]`
in the topmost `conftest.py` adds the fixtures `forebay_service` and `forebay_channel`.

No other package imports both gateway and workers; this one imports them on first use.

PYTEST_DONT_REWRITE: a `conftest.py` may import this module before pytest does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forebay.extras import explained
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
    """A running service: the address of its gateway, HOST:PORT, and a channel to it.

    The channel closes when the service stops. For asyncio, create a channel to the address.
    """

    address: str
    channel: grpc.Channel


reused_service: ReusedService[Service] = ReusedService()
"""The service that the fixtures started last."""


@contextmanager
def serving(
    services: Mapping[ServiceDescriptor, Handlers],
    *,
    concurrency: int = CONCURRENCY,
    settings: Mapping[str, Any] | None = None,
    interceptors: Sequence[grpc.ServerInterceptor] = (),
) -> Iterator[Service]:
    """Serves `services` with `interceptors`, given as for `application`, until the block is left.

    The worker runs `concurrency` calls at a time, in threads of this process. `settings` are
    Forebay's (docs/settings.md) by name; environment and `forebay.toml` are not read. A process
    can serve one such set of services at a time.

    Leaving the block cancels running calls, and removes every process, folder and thread. Raises
    RouteError, LookupError or SettingsError for invalid services or settings, EmbeddedServerError
    if there is no Valkey, and forebay_workers.testing.in_process.WorkerError if a handler does not
    end.
    """
    try:
        from forebay_gateway.testing.service import running_service
    except ImportError as error:
        raise explained(error, "forebay_gateway.testing", "testing") from None

    reused_service.stop_if_unused()
    running = running_service(services, concurrency, settings or {}, interceptors)
    with running as (address, channel):
        yield Service(address, channel)
