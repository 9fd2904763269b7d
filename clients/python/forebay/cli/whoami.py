"""`forebay whoami`: the caller's identity at the gateway, and what the caller may do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click
from google.protobuf.json_format import MessageToDict

from forebay.cli.gateway import gateway_at
from forebay.cli.options import json_option, target_option
from forebay.cli.tables import printable, show_json
from forebay.cli.target import Target
from forebay.v1.calls_pb2 import WhoAmIResponse


@click.command()
@target_option()
@json_option
def whoami(target: Target, as_json: bool) -> None:
    """Show who you are to the gateway, and what you may do.

    The identity is that of the token or, without one, of the client certificate.
    """
    with gateway_at(target) as gateway:
        found = gateway.who_am_i()
    if as_json:
        show_json([as_dict(found)])
        return
    for name, value in _lines(found):
        click.echo(printable(f"{name:<12} {value}"))


def as_dict(found: WhoAmIResponse) -> dict[str, object]:
    """All fields, by their names in the proto; `expire_time` null: not before the key is gone."""
    shown: dict[str, object] = MessageToDict(
        found, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )
    return {"expire_time": None, **shown}


def _lines(found: WhoAmIResponse) -> Iterator[tuple[str, str]]:
    if not found.authenticated:
        yield "subject", "anyone: authentication is off"
    else:
        yield "tenant", found.tenant
        yield "subject", found.subject
        yield "roles", _listed(found.roles)
        yield "permissions", _listed(found.permissions)
        yield "issuer", found.issuer
        yield "key", found.key_id or "unknown"
        yield "expires", expiry(found)
    yield "methods", _listed(found.methods)


def expiry(found: WhoAmIResponse) -> str:
    """When the token or certificate expires, in UTC."""
    if not found.HasField("expire_time"):
        return "never"
    return f"{found.expire_time.ToDatetime():%Y-%m-%d %H:%M:%S} UTC"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
