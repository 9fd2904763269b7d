"""Options of several commands."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

SERVICE_FORMS = "Compiled protobuf module, or descriptor set file"
DECODES_MESSAGES = f"{SERVICE_FORMS}, to decode messages; repeatable."

_SERVICES_VARIABLE = "FOREBAY_SERVICES"
_COMPUTE = ("forebay.compute.v1.compute_pb2",)

F = TypeVar("F", bound=Callable[..., Any])


def target_option(help_text: str | None = None) -> Callable[[F], F]:
    return click.option(
        "--target",
        "-t",
        default="127.0.0.1:50051",
        envvar="FOREBAY_ADDRESS",
        metavar="HOST:PORT[,HOST:PORT]...",
        show_default=True,
        show_envvar=True,
        help=help_text,
    )


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print lines of JSON.")(command)


def service_option(help_text: str) -> Callable[[F], F]:
    """The sources of services, by default those of the gateway's settings."""
    return click.option(
        "--service",
        "services",
        multiple=True,
        default=_services_of_environment,
        metavar="MODULE|FILE",
        help=f"{help_text} Default: those of {_SERVICES_VARIABLE}, or ComputeService.",
    )


def routes_option(command: F) -> F:
    """The file of routes, by default that of the gateway's settings."""
    return click.option(
        "--routes",
        envvar="FOREBAY_ROUTES",
        show_envvar=True,
        metavar="FILE",
        help="Routes for services whose .proto has none.",
    )(command)


def _services_of_environment() -> tuple[str, ...]:
    """The gateway's setting, a list in JSON, if it is in the environment."""
    value = os.environ.get(_SERVICES_VARIABLE)
    if not value:
        return _COMPUTE
    try:
        names = json.loads(value)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise click.ClickException(
            f'{_SERVICES_VARIABLE} = {value!r}: expected a list in JSON, such as ["mypkg.my_pb2"]'
        )
    return tuple(names)
