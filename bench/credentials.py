"""Credentials of the callers that the benchmarks of a secured gateway simulate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from bench.load.grpc import BEARER, BEARERS, CA, CERTIFICATE, KEY
from tests.certificates import Authority, Issued

_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


@dataclass(frozen=True)
class NewTokens:
    """A token for each call, made by `make`; `file` gets `count` of them before each load.

    A load that makes more calls starts over, so `count` is more than the gateway remembers.
    """

    make: Callable[[], str]
    file: Path
    count: int

    def written(self) -> str:
        """The path of the file, with tokens that no call has had."""
        self.file.write_text("\n".join(self.make() for _ in range(self.count)))
        return str(self.file)


@dataclass(frozen=True)
class Credentials:
    """A client certificate with the gateway's CA, and a bearer token; neither by default."""

    certificate: tuple[Authority, Issued] | None = None
    token: str | NewTokens = ""

    def for_load(self) -> dict[str, str]:
        """Environment variables of `bench.load.grpc`."""
        variables: dict[str, str] = {}
        if self.certificate is not None:
            authority, client = self.certificate
            variables |= {
                CA: str(authority.ca),
                CERTIFICATE: str(client.certificate),
                KEY: str(client.key),
            }
        if isinstance(self.token, NewTokens):
            variables[BEARERS] = self.token.written()
        elif self.token:
            variables[BEARER] = self.token
        return variables

    def channel(self, address: str) -> grpc.Channel:
        """A channel with a connection of its own; the token goes into each call's metadata."""
        if self.certificate is None:
            return grpc.insecure_channel(address, _OWN_CONNECTION)
        authority, client = self.certificate
        files = (authority.ca, client.key, client.certificate)
        tls = grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))
        return grpc.secure_channel(address, tls, _OWN_CONNECTION)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of one call."""
        token = self.token.make() if isinstance(self.token, NewTokens) else self.token
        return (("authorization", f"Bearer {token}"),) if token else ()
