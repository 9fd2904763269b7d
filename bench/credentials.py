"""Credentials of the callers that the benchmarks of a secured gateway simulate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import grpc

from bench.load.grpc import BEARER, CA, CERTIFICATE, KEY
from tests.certificates import Authority, Issued


@dataclass(frozen=True)
class Credentials:
    """A client certificate, the gateway's CA, and a bearer token if there is one."""

    authority: Authority
    client: Issued
    token: str = ""

    @property
    def for_load(self) -> dict[str, str]:
        """Environment variables of `bench.load.grpc`."""
        return {
            CA: str(self.authority.ca),
            CERTIFICATE: str(self.client.certificate),
            KEY: str(self.client.key),
            **({BEARER: self.token} if self.token else {}),
        }

    @cached_property
    def for_channel(self) -> grpc.ChannelCredentials:
        """The certificates, without the token, which goes into a call's metadata."""
        files = (self.authority.ca, self.client.key, self.client.certificate)
        return grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))
