"""gRPC's own retries, for callers without our client.

A gRPC service config (https://github.com/grpc/grpc/blob/master/doc/service_config.md) has
gRPC make a call again that ended with UNAVAILABLE before anything came of it; gateways
tell it when, or not to, by `grpc-retry-pushback-ms`. It covers methods that may be run
again (`idempotency_level`) and, where every call is made with a `forebay-call-id`, all that keep a
record.
The one of ComputeService is in `service_config.json`, for any language.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.resources import files

from google.protobuf.descriptor import ServiceDescriptor

from forebay.routes.methods import Method, read_methods

_RETRY_POLICY = {
    "maxAttempts": 5,  # gRPC allows no more
    "initialBackoff": "0.2s",
    "maxBackoff": "5s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def service_config(
    services: Iterable[ServiceDescriptor] = (), *, calls_have_ids: bool = False
) -> str:
    """JSON for the channel option `grpc.service_config`; of ComputeService where none is named.

    `calls_have_ids` where the caller gives each call an id of its own: then all methods are
    covered but those of plain tasks, whose calls take none. Raises `RouteError` for routes that
    no gateway serves.
    """
    services = tuple(services)
    if not services:
        return files("forebay").joinpath("service_config.json").read_text()
    covered = [
        method
        for method in read_methods(services)
        if (calls_have_ids and not method.is_plain) or method.may_run_again
    ]
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": [_name(m) for m in covered], "retryPolicy": _RETRY_POLICY}],
    }
    return json.dumps(config, indent=2) + "\n"


def _name(method: Method) -> dict[str, str]:
    return {"service": method.service, "method": method.name.rpartition(".")[2]}
