"""Runs tests with identity on: `TEST_IDENTITY=on`, as `make test-variants` does.

Gateways have TLS, API keys, roles, a tenant with quotas, and signed messages; the tests' channels,
which ask for no security, get what they need: the CA and a key that may do everything.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from forebay_backends.ledger.keys import CallKey
from forebay_gateway.identity.keys.api_key import new_key
from forebay_gateway.identity.keys.keys_file import written_keys
from tests.certificates import Authority

VARIABLES = (
    "FOREBAY_TLS__CERTIFICATE",
    "FOREBAY_TLS__KEY",
    "FOREBAY_AUTH__KEYS",
    "FOREBAY_ROLES",
    "FOREBAY_TENANTS",
    "FOREBAY_CLIENT__CA",
    "FOREBAY_CLIENT__TOKEN_FILE",
    "FOREBAY_SIGNING_KEYS",
)
"""Set for gateways, workers and commands while identity is on."""

_TENANT, _ROLE = "acme", "all"


def is_on() -> bool:
    """Whether the tests run with identity on."""
    return os.environ.get("TEST_IDENTITY") == "on"


def enable() -> None:
    """Turns identity on for all that this process starts from now on, if it is to be on."""
    if not is_on():
        return
    folder = Path(tempfile.mkdtemp(prefix="identity-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    authority = Authority(folder)
    shown = authority.issue("gateway", "localhost", "127.0.0.1", "::1")
    key, token = new_key(_TENANT, (_ROLE,), "tests", None)
    keys, token_file, signing = folder / "keys.toml", folder / "token", folder / "signing.toml"
    keys.write_text(written_keys([key]))
    token_file.write_text(token)
    signing.write_text(f'[keys]\nfirst = "{b64encode(os.urandom(32)).decode()}"\n')
    signing.chmod(0o600)
    values = (
        str(shown.certificate),
        str(shown.key),
        json.dumps([{"file": str(keys)}]),
        json.dumps({_ROLE: ["*"]}),
        json.dumps({_TENANT: {"in_flight": 100_000, "weight": 2}}),
        str(authority.ca),
        str(token_file),
        str(signing),
    )
    os.environ.update(zip(VARIABLES, values, strict=True))
    credentials = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(authority.ca.read_bytes()),
        grpc.access_token_call_credentials(token),
    )
    # The calls that tests look up in the ledger are this tenant's.
    CallKey.__init__.__defaults__ = (_TENANT,)
    for module in (grpc, grpc.aio):
        untyped: Any = module
        untyped.insecure_channel = _secure(untyped.secure_channel, credentials)


def _secure(
    channel: Callable[..., Any], credentials: grpc.ChannelCredentials
) -> Callable[..., Any]:
    def secure_channel(target: str, *arguments: Any, **options: Any) -> Any:
        return channel(target, credentials, *arguments, **options)

    return secure_channel
