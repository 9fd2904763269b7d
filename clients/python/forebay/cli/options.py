"""Options of several commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from forebay.cli.shared_settings import read_routes
from forebay.cli.targets import checked_target, default_target

SERVICE_FORMS = "Compiled protobuf module, or descriptor set file"
DECODES_MESSAGES = f"{SERVICE_FORMS}, to decode messages; repeatable."

F = TypeVar("F", bound=Callable[..., Any])


def target_option(
    help_text: str | None = None, callback: Callable[..., str] = checked_target
) -> Callable[[F], F]:
    """The addresses of the gateways, checked; by default the setting `listen`."""
    return click.option(
        "--target",
        "-t",
        default=default_target,
        envvar="FOREBAY_ADDRESS",
        metavar="HOST:PORT[,HOST:PORT]...",
        show_default="the setting listen, or 127.0.0.1:50051",
        show_envvar=True,
        callback=callback,
        help=help_text,
    )


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print lines of JSON.")(command)


def service_option(help_text: str) -> Callable[[F], F]:
    """Sources of services; none is given if the gateway is to be asked."""
    return click.option(
        "--service",
        "services",
        multiple=True,
        metavar="MODULE|FILE",
        help=f"{help_text} Default: what the gateway says, or the setting services.",
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
