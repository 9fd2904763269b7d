"""The settings that commands which call a gateway read: `[client]`, and some of the gateway's.

The gateway's are `listen`, `routes` and `services`. As in the gateway, environment variables
override the file, which is `forebay.toml` or the one that FOREBAY_CONFIG names. Commands ignore
the file's other settings.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import click

from forebay.defaults import CONFIG_FILE, CONFIG_VARIABLE, PREFIX, SERVICES


class Services(NamedTuple):
    """The sources of the services, and the option or setting that names them."""

    names: tuple[str, ...]
    setting: str


_CLIENT: dict[str, tuple[type[Any], str]] = {
    "target": (str, "HOST:PORT"),
    "ca": (str, "the name of a file"),
    "cert": (str, "the name of a file"),
    "key": (str, "the name of a file"),
    "token_file": (str, "the name of a file"),
    "insecure": (bool, "true or false"),
}


def client_variable(name: str) -> str:
    """The environment variable for a setting of `[client]`."""
    return f"{PREFIX}CLIENT__{name.upper()}"


def read_client(name: str) -> Any:
    """The setting of `[client]` in the file; None if it is not set. Raises ClickException."""
    table = _in_file("client", dict, 'a table, such as {ca = "ca.pem"}') or {}
    unknown = sorted(table.keys() - _CLIENT.keys())
    if unknown:
        known = ", ".join(_CLIENT)
        raise click.ClickException(
            f"{_config()}: client.{unknown[0]}: no such setting; expected one of {known}"
        )
    kind, expected = _CLIENT[name]
    value = table.get(name)
    if value is not None and not isinstance(value, kind):
        raise click.ClickException(f"{_config()}: client.{name} = {value!r}: expected {expected}")
    return value


def read_listen() -> str | None:
    """Where the gateway listens; None if that is not set. Raises ClickException."""
    return os.environ.get(f"{PREFIX}LISTEN") or _in_file("listen", str, "HOST:PORT")


def read_routes() -> str | None:
    """The file of routes; None if that is not set. Raises ClickException."""
    return os.environ.get(f"{PREFIX}ROUTES") or _in_file("routes", str, "the name of a file")


def read_services() -> Services:
    """The services of the gateway; the default is ComputeService. Raises ClickException."""
    variable = f"{PREFIX}SERVICES"
    value = os.environ.get(variable)
    if value:
        try:
            names = json.loads(value)
        except ValueError:
            names = None
        expected = f'{variable} = {value!r}: expected a list in JSON, such as ["mypkg.my_pb2"]'
        return Services(_names(names, expected), variable)
    expected = 'a list of names, such as ["mypkg.my_pb2"]'
    names = _in_file("services", list, expected)
    if names is None:
        return Services(SERVICES, "services")
    where = f"{_config()}: services"
    return Services(_names(names, f"{where} = {names!r}: expected {expected}"), where)


def _names(value: Any, expected: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise click.ClickException(expected)
    return tuple(value)


def _in_file(name: str, kind: type[Any], expected: str) -> Any:
    path = _config()
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8")).get(name)
    except FileNotFoundError as error:
        if not os.environ.get(CONFIG_VARIABLE):
            return None
        problem = f"{CONFIG_VARIABLE} = {str(path)!r}: expected a TOML file; there is none"
        raise click.ClickException(problem) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.ClickException(f"{path}: {error}") from error
    if value is not None and not isinstance(value, kind):
        raise click.ClickException(f"{path}: {name} = {value!r}: expected {expected}")
    return value


def _config() -> Path:
    return Path(os.environ.get(CONFIG_VARIABLE) or CONFIG_FILE)
