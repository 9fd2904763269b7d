"""A loaded stack: Redis, a gateway of two processes, a worker, and Prometheus.

The gateway has TLS, an identity provider, and a tenant with a quota.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from tests.certificates import Authority
from tests.harness import environment, forebay_gateway, free_port, redis_server, worker
from tests.identity_provider import (
    IdentityProvider,
    issuer_settings,
    jwks_server,
    with_document,
)
from tests.ops.load import Channels, load
from tests.ops.prometheus import Prometheus, prometheus

_PRODUCT = "forebay.compute.v1.ComputeService.MatMul"
_MODEST = "modest"
"""A tenant that may make few calls."""


def _identity(jwks_url: str) -> dict[str, str]:
    """The variables of a gateway that knows the callers of a provider."""
    entry = issuer_settings(jwks_url=jwks_url)
    return {
        "FOREBAY_AUTH__JWT": json.dumps([entry]),
        "FOREBAY_ROLES": json.dumps({"caller": ["*"], "operator": ["*"]}),
        "FOREBAY_TENANTS": json.dumps({_MODEST: {"per_second": 1}}),
    }


def _channels(address: str, authority: Authority, provider: IdentityProvider) -> Channels:
    """Channels of a usual caller, of one over its quota, and of one without an identity."""
    secure = grpc.ssl_channel_credentials(authority.ca.read_bytes())

    def channel(token: str) -> grpc.Channel:
        call_credentials = grpc.access_token_call_credentials(token)
        credentials = grpc.composite_channel_credentials(secure, call_credentials)
        return grpc.secure_channel(address, credentials)

    long = {"exp": int(time.time()) + 24 * 3600}
    return Channels(
        channel(provider.token(**long)),
        channel(provider.token(tenant=_MODEST, **long)),
        grpc.secure_channel(address, secure),
    )


@contextmanager
def loaded_stack(
    folder: Path, scrape_interval: str = "1s", kill_every_s: float = 2.0
) -> Iterator[Prometheus]:
    """Calls go through it, and children of the worker are killed, until the block is left."""
    admin, metrics = (f"127.0.0.1:{free_port()}" for _ in range(2))
    authority = Authority(folder)
    shown = authority.issue("gateway", "127.0.0.1")
    with redis_server() as url, jwks_server() as published:
        provider = IdentityProvider()
        published.answer = with_document(provider.jwks())
        env = environment(FOREBAY_LEDGER_URL=url, FOREBAY_DRAIN_S="0")
        gateway_env = {
            **env,
            "FOREBAY_ADMIN_LISTEN": admin,
            "FOREBAY_CACHES": json.dumps({_PRODUCT: {"ttl": "0.1s"}}),
            "FOREBAY_TLS__CERTIFICATE": str(shown.certificate),
            "FOREBAY_TLS__KEY": str(shown.key),
            **_identity(published.url),
        }
        queues = ("-Q", "add,factorial,mat_mul", "--concurrency", "2")
        with (
            worker(*queues, "--metrics", metrics, env=env) as running,
            forebay_gateway("--processes", "2", env=gateway_env) as (_, address),
            load(_channels(address, authority, provider), running.popen.pid, kill_every_s),
            prometheus(folder, [admin], [metrics], scrape_interval) as found,
        ):
            yield found
