"""Options of several commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from forebay.cli.shared_settings import client_variable, read_client, read_routes
from forebay.cli.target import Target
from forebay.cli.targets import checked_target, default_target

SERVICE_FORMS = "Compiled protobuf module, or descriptor set file"
DECODES_MESSAGES = f"{SERVICE_FORMS}, to decode messages; repeatable."

F = TypeVar("F", bound=Callable[..., Any])


def target_option(
    help_text: str | None = None, callback: Callable[..., str] = checked_target
) -> Callable[[F], F]:
    """The gateways, checked, and how to reach them; the command gets a `Target`.

    The default of each option is a variable or a setting of `[client]`, and that of the addresses
    the setting `listen`.
    """

    def decorate(command: F) -> F:
        @wraps(command)
        def with_target(
            *,
            target: str,
            ca: Path | None,
            cert: Path | None,
            key: Path | None,
            token_file: Path | None,
            insecure: bool | None,
            **others: Any,
        ) -> Any:
            whole = Target(target, ca, cert, key, token_file, bool(insecure))
            return command(target=whole, **others)

        with_options: Any = with_target
        for option in reversed(_connection_options(help_text, callback)):
            with_options = option(with_options)
        return cast("F", with_options)

    return decorate


def _connection_options(
    help_text: str | None, callback: Callable[..., str]
) -> Sequence[Callable[[Any], Any]]:
    return (
        click.option(
            "--target",
            "-t",
            default=default_target,
            envvar="FOREBAY_ADDRESS",
            metavar="HOST:PORT[,HOST:PORT]...",
            show_default="the setting listen, or 127.0.0.1:50051",
            show_envvar=True,
            callback=callback,
            help=help_text,
        ),
        _file_option("ca", "CAs that sign the gateways' certificates, in PEM; turns TLS on."),
        _file_option("cert", "Certificate of this client, in PEM."),
        _file_option("key", "Key of that certificate."),
        _file_option("token-file", "The caller's token; it is read again for each call."),
        click.option(
            "--insecure",
            is_flag=True,
            flag_value=True,  # click 8.1 would take the opposite of the default's function
            default=partial(read_client, "insecure"),
            envvar=client_variable("insecure"),
            help="Plain text. Default: only on loopback, without --ca and --cert.",
        ),
    )


def _file_option(name: str, help_text: str) -> Callable[[Any], Any]:
    setting = name.replace("-", "_")
    return click.option(
        f"--{name}",
        type=click.Path(path_type=Path),
        default=partial(read_client, setting),
        envvar=client_variable(setting),
        metavar="FILE",
        help=help_text,
    )


def tenant_option(command: F) -> F:
    return click.option(
        "--tenant", metavar="NAME", help="Calls of this tenant. Default: the caller's own."
    )(command)


def all_tenants_option(command: F) -> F:
    return click.option("--all-tenants", is_flag=True, help="Calls of all tenants.")(command)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print lines of JSON.")(command)


def service_option(help_text: str) -> Callable[[F], F]:
    """Sources of services; none is given if the gateway is to be asked."""
    return click.option(
        "--service",
        "services",
        multiple=True,
        metavar="MODULE|FILE",
        help=f"{help_text} Default: what the gateway serves, or the setting services.",
    )


def routes_option(command: F) -> F:
    """The file of routes, by default that of the gateway's settings."""
    return click.option(
        "--routes",
        default=read_routes,
        envvar="FOREBAY_ROUTES",
        show_default="the setting routes",
        show_envvar=True,
        metavar="FILE",
        help="Routes for services whose .proto has none.",
    )(command)
