"""Options that several commands have."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

WHAT_A_SERVICE_IS = "Compiled protobuf module, or descriptor set file"
FOR_MESSAGES = f"{WHAT_A_SERVICE_IS}, to read messages by; repeatable."
"""What `--service` is for where messages are only read."""

_SERVICES_VARIABLE = "FOREBAY_SERVICES"
_COMPUTE = ("forebay.compute.v1.compute_pb2",)

F = TypeVar("F", bound=Callable[..., Any])


def target_option(help_text: str | None = None) -> Callable[[F], F]:
    """Where the gateways are."""
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


def service_option(help_text: str) -> Callable[[F], F]:
    """The sources that say what services' methods and messages are; else the gateway's own."""
    return click.option(
        "--service",
        "services",
        multiple=True,
        default=_services_of_environment,
        metavar="MODULE|FILE",
        help=f"{help_text} Unset: those of {_SERVICES_VARIABLE}, or ComputeService.",
    )


def _services_of_environment() -> tuple[str, ...]:
    """The gateway's setting, where it is in the environment; a list in JSON."""
    value = os.environ.get(_SERVICES_VARIABLE)
    if not value:
        return _COMPUTE
    try:
        names = json.loads(value)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise click.ClickException(
            f'{_SERVICES_VARIABLE} = {value!r}: expected JSON, such as ["mypkg.my_pb2"]'
        )
    return tuple(names)
