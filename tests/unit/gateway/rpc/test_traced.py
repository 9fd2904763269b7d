"""Whose sampling decision a gateway follows: the setting `trace_trust`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest

from forebay_backends.telemetry.call_labels import CallLabels
from forebay_backends.telemetry.rpc_span import RpcSpan
from forebay_backends.telemetry.spans import Tracing
from forebay_gateway.identity.principal import NOBODY, Principal
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.traced import Trust, start_span

KNOWN = Principal(subject="ann", tenant="acme")
CERTIFICATE = {"x509_common_name": [b"ann"]}


@dataclass
class Rpc:
    """A context with this caller."""

    principal: Principal
    certificate: Mapping[str, list[bytes]]

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def auth_context(self) -> Mapping[str, list[bytes]]:
        return self.certificate


class UnsampledSpan:
    """The span of an RPC that is not recorded."""

    traceparent = ""


class Asked:
    """Tracing that asks whether the caller is trusted."""

    is_trusted: bool | None = None

    def rpc(self, method: str, metadata: Any, is_trusted: Callable[[], bool]) -> RpcSpan:
        self.is_trusted = is_trusted()
        return cast(RpcSpan, UnsampledSpan())


@pytest.mark.parametrize(
    ("trust", "principal", "certificate", "expected"),
    [
        ("always", NOBODY, {}, True),
        ("never", KNOWN, CERTIFICATE, False),
        ("authenticated", NOBODY, {}, False),
        ("authenticated", NOBODY, {"transport_security_type": [b"ssl"]}, False),
        ("authenticated", NOBODY, CERTIFICATE, True),
        ("authenticated", KNOWN, {}, True),
    ],
)
def test_whom_a_gateway_trusts_with_sampling(
    trust: Trust, principal: Principal, certificate: Mapping[str, list[bytes]], expected: bool
) -> None:
    asked = Asked()
    context = cast(Context, Rpc(principal, certificate))
    start_span(cast(Tracing, asked), trust, CallLabels("p.S.M"), context)
    assert asked.is_trusted is expected
