"""Errors of commands: the messages that they end with."""

from __future__ import annotations

from typing import NoReturn

import click
import grpc
from google.protobuf.descriptor_pool import DescriptorPool

from forebay.channels import channel
from forebay.errors import BackendError, DeadlineExceeded, ForebayError
from forebay.extras import command_to_install, missing_of
from forebay.resume.targets import read_targets


def channel_to(
    target: str,
    *,
    resume: bool = False,
    pool: DescriptorPool | None = None,
    routes: str | None = None,
) -> grpc.Channel:
    """A channel to the gateways of `--target`."""
    try:
        return channel(target, resume=resume, pool=pool, routes=routes)
    except ValueError as error:
        raise click.ClickException(f"--target: {error}") from error


def fail(error: ForebayError, target: str) -> NoReturn:
    """Ends the command with the error and what to do about it."""
    lines = [str(error)]
    lines += [
        f"  {violation.field}: {violation.description}"
        for violation in error.violations
        if violation.description not in error.message
    ]
    if error.retry_after_s is not None:
        lines.append(f"  retry after {error.retry_after_s:g} s")
    if isinstance(error, (BackendError, DeadlineExceeded)):
        doctor = f"`forebay doctor --listen {read_targets(target)[0]}`"
        here = "" if not missing_of("gateway") else f" (needs {command_to_install('gateway')})"
        lines.append(f"  run {doctor}{here} to find the cause")
    raise click.ClickException("\n".join(lines))
