"""Runs tests with identity on, as `make test-variants` does: `TEST_IDENTITY=keys` or `tokens`.

Gateways have TLS, roles, a tenant with quotas, and signed messages. With `keys` callers have an API
key; with `tokens` they have a JWT, and gateways require client certificates, too. The tests'
channels, which ask for no security, get what they need: the CA, and credentials that may do
everything.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from forebay_backends.ledger.keys import CallKey
from forebay_gateway.identity.keys.api_key import new_key
from forebay_gateway.identity.keys.keys_file import written_keys
from tests.certificates import Authority, Issued
from tests.identity_provider import IdentityProvider, issuer_settings

VARIABLES = (
    "FOREBAY_TLS__CERTIFICATE",
    "FOREBAY_TLS__KEY",
    "FOREBAY_TLS__CLIENT_CA",
    "FOREBAY_TLS__CLIENT_AUTH",
    "FOREBAY_AUTH__KEYS",
    "FOREBAY_AUTH__JWT",
    "FOREBAY_ROLES",
    "FOREBAY_TENANTS",
    "FOREBAY_CLIENT__CA",
    "FOREBAY_CLIENT__CERT",
    "FOREBAY_CLIENT__KEY",
    "FOREBAY_CLIENT__TOKEN_FILE",
    "FOREBAY_SIGNING_KEYS",
)
"""Set for gateways, workers and commands while identity is on; some with one kind only."""

_TENANT, _SUBJECT, _ROLE = "acme", "tests", "all"
_LASTS_S = 24 * 3600
"""A token outlives the tests."""


@dataclass(frozen=True)
class _Caller:
    """The token of a caller, its certificate if it needs one, and what gateways must know."""

    token: str
    certificate: Issued | None
    variables: dict[str, str]


def is_on() -> bool:
    """Whether the tests run with identity on."""
    return "TEST_IDENTITY" in os.environ


def enable() -> None:
    """Turns identity on for all that this process starts from now on, if it is to be on."""
    if not is_on():
        return
    kind = os.environ["TEST_IDENTITY"]
    make = {"keys": _with_api_key, "tokens": _with_jwt}.get(kind)
    if make is None:
        raise pytest.UsageError(f"TEST_IDENTITY={kind}: expected keys or tokens")
    folder = Path(tempfile.mkdtemp(prefix="identity-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    authority = Authority(folder)
    shown = authority.issue("gateway", "localhost", "127.0.0.1", "::1")
    caller = make(folder, authority)
    token_file, signing = folder / "token", folder / "signing.toml"
    token_file.write_text(caller.token)
    signing.write_text(f'[keys]\nfirst = "{b64encode(os.urandom(32)).decode()}"\n')
    signing.chmod(0o600)
    os.environ |= {
        **caller.variables,
        "FOREBAY_TLS__CERTIFICATE": str(shown.certificate),
        "FOREBAY_TLS__KEY": str(shown.key),
        "FOREBAY_ROLES": json.dumps({_ROLE: ["*"]}),
        "FOREBAY_TENANTS": json.dumps({_TENANT: {"in_flight": 100_000, "weight": 2}}),
        "FOREBAY_CLIENT__CA": str(authority.ca),
        "FOREBAY_CLIENT__TOKEN_FILE": str(token_file),
        "FOREBAY_SIGNING_KEYS": str(signing),
    }
    # The calls that tests look up in the ledger are this tenant's.
    CallKey.__init__.__defaults__ = (_TENANT,)
    credentials = _credentials(authority, caller)
    for module in (grpc, grpc.aio):
        untyped: Any = module
        untyped.insecure_channel = _secure(untyped.secure_channel, credentials)


def _with_api_key(folder: Path, _: Authority) -> _Caller:
    key, token = new_key(_TENANT, (_ROLE,), _SUBJECT, None)
    keys = folder / "keys.toml"
    keys.write_text(written_keys([key]))
    return _Caller(token, None, {"FOREBAY_AUTH__KEYS": json.dumps([{"file": str(keys)}])})


def _with_jwt(folder: Path, authority: Authority) -> _Caller:
    provider = IdentityProvider()
    jwks = folder / "jwks.json"
    jwks.write_bytes(provider.jwks())
    expires = int(time.time()) + _LASTS_S
    token = provider.token(tenant=_TENANT, sub=_SUBJECT, scope=_ROLE, exp=expires)
    certificate = authority.issue("caller")
    variables = {
        "FOREBAY_AUTH__JWT": json.dumps([issuer_settings(jwks_file=str(jwks))]),
        "FOREBAY_TLS__CLIENT_CA": str(authority.ca),
        "FOREBAY_TLS__CLIENT_AUTH": "require",
        "FOREBAY_CLIENT__CERT": str(certificate.certificate),
        "FOREBAY_CLIENT__KEY": str(certificate.key),
    }
    return _Caller(token, certificate, variables)


def _credentials(authority: Authority, caller: _Caller) -> grpc.ChannelCredentials:
    shown = caller.certificate
    pair = (shown.key.read_bytes(), shown.certificate.read_bytes()) if shown else ()
    return grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(authority.ca.read_bytes(), *pair),
        grpc.access_token_call_credentials(caller.token),
    )


def _secure(
    channel: Callable[..., Any], credentials: grpc.ChannelCredentials
) -> Callable[..., Any]:
    def secure_channel(target: str, *arguments: Any, **options: Any) -> Any:
        return channel(target, credentials, *arguments, **options)

    return secure_channel
