"""The option `--target`: the addresses of gateways, checked before anything is sent there."""

from __future__ import annotations

import os

import click

from forebay.cli.shared_settings import client_variable, read_client, read_listen
from forebay.defaults import LISTEN
from forebay.resume.targets import read_targets

_PORT = LISTEN.rpartition(":")[2]
# gRPC's own URI schemes: gRPC checks such addresses itself.
_URI_SCHEMES = ("dns", "ipv4", "ipv6", "unix", "unix-abstract", "vsock", "xds")
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "*": "127.0.0.1"}  # noqa: S104  # not bound


def checked_target(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """The option's value as it is; raises BadParameter with what was expected instead."""
    try:
        for target in read_targets(value):
            check_target(target)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error
    return value


def check_target(target: str) -> None:
    """Raises ValueError if it is neither HOST:PORT nor a URI of gRPC's."""
    scheme, slashes, rest = target.partition("://")
    if target.partition(":")[0] in _URI_SCHEMES and not target.partition(":")[2].isdecimal():
        return
    if slashes:
        address = rest.partition("/")[0]
        raise ValueError(
            f"{target!r}: expected HOST:PORT without {scheme}://, such as {_with_port(address)}"
        )
    host, _, port = target.rpartition(":")
    if not host or ("]" in port):
        raise ValueError(f"{target!r}: expected HOST:PORT, such as {_with_port(target)}")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{target!r}: expected an IPv6 address in brackets, such as [::1]:{_PORT}")
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"{target!r}: expected a port from 1 to 65535, such as {host}:{_PORT}")


def default_target() -> str:
    """The gateways of `[client]`, or where the gateway with the settings of this folder listens.

    A gateway that chooses its port is not found.
    """
    client = os.environ.get(client_variable("target")) or read_client("target")
    if client:
        return str(client)
    listen = read_listen() or LISTEN
    return LISTEN if listen.endswith(":0") else reachable(listen)


def reachable(listen: str) -> str:
    """The address at which callers on this host reach a gateway that listens on `listen`."""
    host, _, port = listen.rpartition(":")
    return f"{_ANY_ADDRESS.get(host, host)}:{port}"


def _with_port(address: str) -> str:
    host = f"localhost{address}" if address.startswith(":") else address or "localhost"
    return host if host.rpartition(":")[2].isdecimal() else f"{host}:{_PORT}"
