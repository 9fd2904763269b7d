"""Commands of `forebay` in a system with marked secrets."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.secret_doors import ECHO, System


def run_commands(system: System) -> None:
    """All commands of `forebay`, as they are to be used, and with settings that are refused."""
    files = {"CERT": system.folder / "gateway.pem", "KEY": system.folder / "gateway.key"}
    new, refused = system.canaries.new, system.folder / "refused"
    refused.mkdir()
    bad_token, bad_file = refused / "token", refused / "forebay.toml"
    bad_token.write_text(f"{new('a token')}\n{new('a token')}☃")
    bad_file.write_text(f'ledger_url = "redis://:{new("a password")}@host')
    unknown = refused / "unknown.toml"
    unknown.write_text(f'ledger_ulr = "redis://:{new("a password")}@host"')
    (refused / "signing.toml").write_text(f'[keys]\nx = "{new("a signing key")}')
    (refused / "keys.toml").write_text(f'[keys.x]\nsha256 = "{new("an API key")}"\n')
    private, signing = files["KEY"].read_text(), new("a signing key") * 2
    url = f"redis://user:{new('a password')}@127.0.0.1:1/0"
    wrong = f"redis://:{new('a password')}@{system.redis_url.rpartition('@')[2]}"
    ambiguous = f"redis://user:pa/{new('a password')}@host"
    applications = f'{{"shop": {{"broker_url": "amqp://u:{new("a password")}@h"'
    commands: list[tuple[Sequence[str], dict[str, str]]] = [
        (("call", f"{ECHO[1:]}.Quick", f"text={new('response')}"), {}),
        (("call", f"{ECHO[1:]}.Quick", "act=raise"), {}),
        (("call", "--token-file", str(bad_token), f"{ECHO[1:]}.Quick"), {}),
        (("call", "--ca", str(files["KEY"]), f"{ECHO[1:]}.Quick"), {}),
        *((words, {}) for words in _GOOD),
        (("whoami",), {"FOREBAY_CLIENT__TOKEN_FILE": f"fbk_x_{new('a token')}"}),
        (("doctor",), {"FOREBAY_CLIENT__TOKEN_FILE": f"eyJ{new('a token')}.{new('a token')}.x"}),
        (("ps",), {"FOREBAY_CLIENT__CERT": str(files["CERT"]), "FOREBAY_CLIENT__KEY": private}),
        (("whoami", "--cert", str(files["KEY"]), "--key", str(files["CERT"])), {}),
        (("doctor",), {"FOREBAY_LEDGER_URL": url, "FOREBAY_BROKER_URL": url}),
        (("doctor",), {"FOREBAY_LEDGER_URL": wrong, "FOREBAY_BROKER_URL": wrong}),
        (("gateway",), {"FOREBAY_LEDGER_URL": ambiguous}),
        (("gateway",), {"FOREBAY_BROKER_URL": f"amqp://u:{new('a password')}@127.0.0.1:1//?x=y"}),
        (("gateway",), {"FOREBAY_LEGDER_URL": url}),
        (("gateway",), {"FOREBAY_APPLICATIONS": applications}),
        (("gateway",), {"FOREBAY_CONFIG": str(bad_file)}),
        (("gateway",), {"FOREBAY_CONFIG": str(unknown)}),
        (("gateway",), {"FOREBAY_SIGNING_KEYS": str(refused / "signing.toml")}),
        (("gateway",), {"FOREBAY_SIGNING_KEYS": b64encode(signing.encode()).decode()}),
        (("gateway",), {"FOREBAY_TLS__KEY": private}),
        (("gateway",), {"FOREBAY_AUTH__KEYS": json.dumps([{"file": str(refused / "keys.toml")}])}),
        (("gateway",), {"FOREBAY_TLS__CERTIFICATE": str(files["KEY"])}),
    ]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: system.run("forebay", *one[0], **one[1]), commands))
    worker = ("celery", "-A", "tests.echo.worker", "worker", "-Q", "echo")
    assert system.run(*worker, FOREBAY_LEDGER_URL=ambiguous).code


_GOOD = (
    ("describe", f"{ECHO[1:]}.Quick"),
    ("ps",),
    ("logs", "canary-0"),
    ("wait", "canary-0"),
    ("cancel", "canary-0"),
    ("queues",),
    ("workers",),
    ("errors",),
    ("top", "--once"),
    ("whoami",),
    ("routes",),
    ("doctor",),
    ("doctor", "--json"),
    ("acl",),
    ("keys", "list"),
    ("keys", "revoke", "none"),
)
