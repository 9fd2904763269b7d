"""Tenants with API keys, and the settings of gateways that know them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc

from forebay_gateway.identity.keys.api_key import new_key
from forebay_gateway.identity.keys.editing import add_key
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub

TIMEOUT_S = 240.0
"""Longer than a flood of 10,000 calls takes on a slow machine."""
STREAMS = {"ServerStream", "Detached", "Steady"}


class Tenants:
    """The API keys of some tenants, in a file of the folder."""

    def __init__(self, folder: Path, *names: str) -> None:
        self._file = folder / "keys.toml"
        self._tokens: dict[str, str] = {}
        for name in names:
            key, token = new_key(name, ("caller",), name, None)
            add_key(self._file, key)
            self._tokens[name] = token

    def settings(self, **tenants: Mapping[str, Any]) -> dict[str, str]:
        """The variables of a gateway; `tenants` are the limits by name, `any` stands for `*`."""
        limits = {name.replace("any", "*"): limits for name, limits in tenants.items()}
        return {
            "FOREBAY_AUTH__KEYS": json.dumps([{"file": str(self._file)}]),
            "FOREBAY_ROLES": json.dumps({"caller": ["*"]}),
            "FOREBAY_TENANTS": json.dumps(limits),
        }

    def token(self, name: str) -> str:
        """The tenant's API key."""
        return self._tokens[name]

    @contextlib.contextmanager
    def calling(self, name: str, address: str) -> Iterator[Tenant]:
        """The tenant, at a gateway."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(address, options=options) as channel:
            yield Tenant(channel, self._tokens[name])


class Tenant:
    """A tenant that calls EchoService at one gateway."""

    def __init__(self, channel: grpc.Channel, token: str) -> None:
        self._stub = EchoServiceStub(channel)
        self._token = token

    def start(self, method: str, request: EchoRequest | None = None, **metadata: str) -> Any:
        """Starts a call; `_` in a key of the metadata stands for `-`."""
        call = getattr(self._stub, method)
        start = call if method in STREAMS else call.future
        pairs = [("authorization", f"Bearer {self._token}")]
        pairs += [(key.replace("_", "-"), value) for key, value in metadata.items()]
        return start(request or EchoRequest(count=1), metadata=pairs, timeout=TIMEOUT_S)


def answer(method: str, call: Any) -> Any:
    """The response of a started call, or the list of a stream's; raises grpc.RpcError."""
    return list(call) if method in STREAMS else call.result()
