"""Errors of commands: the messages that they end with."""

from __future__ import annotations

from typing import NoReturn

import click

from forebay.cli.target import Target
from forebay.errors import BackendError, DeadlineExceeded, ForebayError
from forebay.extras import command_to_install, missing_of


def fail(
    error: ForebayError, target: Target, call_id: str | None = None, note: str = ""
) -> NoReturn:
    """Ends the command with the error, the id of the call that failed, and what to do about it.

    A `note` explains the error's message.
    """
    lines = [str(error), *([f"  {note}"] if note else [])]
    if call_id is not None:
        lines.append(f"  id: {call_id}")
    lines += [
        f"  {violation.field}: {violation.description}"
        for violation in error.violations
        if violation.description not in error.message
    ]
    if error.retry_after_s is not None:
        lines.append(f"  retry after {error.retry_after_s:g} s")
    if isinstance(error, (BackendError, DeadlineExceeded)):
        lines.append(f"  {doctor_hint(target)}")
    raise click.ClickException("\n".join(lines))


def doctor_hint(target: Target) -> str:
    """The command that finds out why the gateways of `--target` don't answer."""
    here = "" if not missing_of("gateway") else f" (needs {command_to_install('gateway')})"
    return f"run `forebay doctor {target.options}`{here} to find the cause"


def show_id(call_id: str | None) -> None:
    """Prints the id, if there is one, of a call that Ctrl-C interrupted."""
    if call_id is not None:
        click.echo(f"id: {call_id}", err=True)
