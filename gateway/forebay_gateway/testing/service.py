"""Starts and stops the parts of a service in a test, in order."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from forebay.routes import read_methods, read_route_file
from forebay_backends.embedded.server import EmbeddedServer
from forebay_backends.settings import SettingsError, given_settings
from forebay_gateway.testing.gateway_thread import gateway_in_thread
from forebay_workers.application import Handlers
from forebay_workers.testing.in_process import running_worker

# Short, because closing the channel first has cancelled its calls.
_DRAIN_S = 1.0
_OWN = {"listen", "ledger_url", "broker_url", "data_dir", "services"}


@contextmanager
def running_service(
    services: Mapping[ServiceDescriptor, Handlers],
    concurrency: int,
    given: Mapping[str, Any],
    interceptors: Sequence[grpc.ServerInterceptor],
) -> Iterator[tuple[str, grpc.Channel]]:
    """Yields the gateway's address and a channel to it; raises as `serving` does.

    Shutdown order: the channel, which cancels its calls; the gateway; the worker, which
    may still write the outcomes of calls; and last the ledger.
    """
    refused = sorted(_OWN & given.keys())
    if refused:
        raise SettingsError(f"settings: a service in a test has its own {', '.join(refused)}")
    methods = read_methods(
        services, read_route_file(given.get("routes")), given.get("applications", ())
    )
    if not methods:
        raise SettingsError("services: none of their methods has a route")
    queues = sorted({method.route.queue for method in methods})
    folder = Path(tempfile.mkdtemp(prefix="forebay-"))
    with EmbeddedServer(folder, remove=True) as server:
        settings = given_settings(
            **{"drain_s": _DRAIN_S, **given, "ledger_url": server.url, "listen": "127.0.0.1:0"}
        )
        with (
            running_worker(services, queues, settings, concurrency, interceptors),
            gateway_in_thread(settings, methods) as address,
            _channel(address) as channel,
        ):
            yield address, channel


def _channel(address: str) -> grpc.Channel:
    # Not through a proxy, even if `http_proxy` is set.
    return grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
