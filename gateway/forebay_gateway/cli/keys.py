"""`forebay keys`: API keys are made, listed and revoked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from forebay.cli.options import json_option
from forebay.cli.tables import show, show_json
from forebay_backends.settings import Settings, SettingsError, load_settings
from forebay_gateway.identity.keys.api_key import ApiKey, new_key
from forebay_gateway.identity.keys.editing import add_key, remove_key, stored_keys
from forebay_gateway.identity.keys.keys_file import checked_name, checked_tenant

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=36_500)
_COLUMNS = ("id", "tenant", "subject", "roles", "created", "expires")


def _checked(check: Callable[[str], str]) -> Callable[..., Any]:
    """A callback for options: `check` raises ValueError for a bad value."""

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        texts = value if isinstance(value, tuple) else () if value is None else (value,)
        for text in texts:
            try:
                check(text)
            except ValueError as error:
                raise click.BadParameter(f"{text!r}: {error}") from error
        return value

    return callback


def _lifetime(ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    if value is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})([mhdw])", value)
    lifetime = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta()
    if not timedelta() < lifetime <= _LONGEST:
        raise click.BadParameter(f"{value!r}: expected up to 100 years, such as 12h or 90d")
    return lifetime


def _file_option(command: F) -> F:
    return click.option(
        "--file",
        "-f",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="The file of keys [the one of [[auth.keys]] in the settings].",
    )(command)


@click.group()
def keys() -> None:
    """Make, list and revoke API keys.

    A running gateway follows within 10 seconds.
    """


@keys.command()
@click.option(
    "--tenant",
    required=True,
    metavar="NAME",
    callback=_checked(checked_tenant),
    help="Whose calls are made with the key.",
)
@click.option(
    "--role",
    "roles",
    required=True,
    multiple=True,
    metavar="NAME",
    callback=_checked(checked_name),
    help="A role that the settings define; repeatable.",
)
@click.option(
    "--subject",
    metavar="NAME",
    callback=_checked(checked_name),
    help="Who makes the calls, as logs name them [the key's id].",
)
@click.option(
    "--expires",
    callback=_lifetime,
    metavar="TIME",
    help="How long the key is valid, such as 12h or 90d [for ever].",
)
@_file_option
def new(
    tenant: str,
    roles: tuple[str, ...],
    subject: str | None,
    expires: timedelta | None,
    file: Path | None,
) -> None:
    """Make a key, and print it. It can't be shown again: the file has only its hash."""
    path = file or _file_of_settings(roles)
    until = None if expires is None else datetime.now(UTC).replace(microsecond=0) + expires
    key, token = new_key(tenant, tuple(dict.fromkeys(roles)), subject, until)
    with _explained(path):
        add_key(path, key)
    ends = "does not expire" if until is None else f"expires {_time(until)}"
    click.echo(f"key {key.key_id} of tenant {tenant} {ends}; it is in {path}", err=True)
    click.echo("Keep what follows: it is not shown again.", err=True)
    click.echo(token)


@keys.command("list")
@_file_option
@json_option
def list_(file: Path | None, as_json: bool) -> None:
    """Show the keys, without their secrets."""
    path = file or _file_of_settings()
    with _explained(path):
        found = stored_keys(path).values()
    if as_json:
        show_json(map(_object, found))
    else:
        show(Console(), _COLUMNS, map(_row, found))


@keys.command()
@click.argument("key_id", metavar="ID")
@_file_option
def revoke(key_id: str, file: Path | None) -> None:
    """Remove a key: gateways refuse it within 10 seconds."""
    path = file or _file_of_settings()
    with _explained(path):
        removed = remove_key(path, key_id)
    if removed is None:
        raise click.ClickException(f"{path} has no key {key_id}; `forebay keys list` shows them")
    click.echo(f"revoked key {key_id} of tenant {removed.tenant}")


def _file_of_settings(roles: tuple[str, ...] = ()) -> Path:
    """The only file of keys in the settings, which define the roles."""
    try:
        settings = load_settings()
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    files = [entry.file for entry in settings.auth.keys]
    if len(files) != 1:
        found = ", ".join(map(str, files)) or "none"
        raise click.UsageError(
            f"the settings have {len(files)} files of keys ([[auth.keys]]): {found}; name one "
            "with --file"
        )
    _check_roles(settings, roles)
    return files[0]


def _check_roles(settings: Settings, roles: tuple[str, ...]) -> None:
    unknown = ", ".join(sorted(set(roles) - settings.roles.keys()))
    if unknown:
        known = ", ".join(sorted(settings.roles)) or "none"
        raise click.UsageError(f"the settings define no role {unknown}; [roles] has {known}")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        raise click.ClickException(f"{path}: {problem}") from error


def _row(key: ApiKey) -> tuple[str, ...]:
    ends = "" if key.expires is None else _time(key.expires)
    if key.is_expired(datetime.now(UTC).timestamp()):
        ends += " (expired)"
    created = "" if key.created is None else _time(key.created)
    return key.key_id, key.tenant, key.subject, " ".join(key.roles), created, ends


def _object(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.key_id,
        "tenant": key.tenant,
        "subject": key.subject,
        "roles": list(key.roles),
        "created": None if key.created is None else _time(key.created),
        "expires": None if key.expires is None else _time(key.expires),
    }


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
