"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

FOR_MESSAGES = "Compiled protobuf module of the service, to read its messages; repeatable."
"""What `--service` is for where messages are only read."""

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
    """The modules that say what a service's methods and messages are."""
    return click.option(
        "--service",
        "services",
        multiple=True,
        default=["forebay.compute.v1.compute_pb2"],
        metavar="MODULE",
        help=help_text,
    )
