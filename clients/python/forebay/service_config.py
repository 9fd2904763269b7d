"""Service configs that turn on gRPC's own retries, for callers without Forebay's client.

With a service config (https://github.com/grpc/grpc/blob/master/doc/service_config.md) gRPC retries
a call that ended with UNAVAILABLE before a response; gateways set the delay, or forbid the retry,
with `grpc-retry-pushback-ms`. The config covers methods that may run again (`idempotency_level`)
and, if every call has a `forebay-call-id`, all methods but those of plain tasks.
`service_config.json` is the config of ComputeService, for clients in any language.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor import ServiceDescriptor

from forebay.routes.file import read_route_file
from forebay.routes.methods import Method, read_methods

_RETRY_POLICY = {
    "maxAttempts": 5,  # the most that gRPC allows
    "initialBackoff": "0.2s",
    "maxBackoff": "5s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def service_config(
    services: Iterable[ServiceDescriptor] = (),
    *,
    calls_have_ids: bool = False,
    routes: str | Path | None = None,
) -> str:
    """Returns JSON for the channel option `grpc.service_config`.

    Without `services`, it is the config of ComputeService. Set `calls_have_ids` if the caller gives
    each call an id of its own: the config then covers all methods but those of plain tasks, which
    take no id. `routes` is the file of the gateway's setting `routes`, if that is set. Raises
    `RouteError` if a route can't be served.
    """
    services = tuple(services)
    if not services:
        return files("forebay").joinpath("service_config.json").read_text()
    covered = [
        method
        for method in read_methods(services, read_route_file(routes))
        if (calls_have_ids and not method.is_plain) or method.may_run_again
    ]
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": [_name(m) for m in covered], "retryPolicy": _RETRY_POLICY}],
    }
    return json.dumps(config, indent=2) + "\n"


def _name(method: Method) -> dict[str, str]:
    return {"service": method.service, "method": method.name.rpartition(".")[2]}
