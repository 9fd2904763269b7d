"""Where settings come from: the environment and a TOML file."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from forebay.defaults import CONFIG_FILE, CONFIG_VARIABLE, PREFIX
from forebay_backends.settings.problems import SettingsError

NESTED = "__"
"""The separator in a variable for one entry of a table, such as `FOREBAY_TLS__KEY`."""
_TABLES = ("APPLICATIONS", "AUTH", "CLIENT", "ROLES", "TENANTS", "TLS")
_PARTS_OF_TABLES = tuple(f"{PREFIX}{name}{NESTED}" for name in _TABLES)
# The gateway's address for callers (`forebay call`, the recipes in clients/shell); not a setting.
_CALLERS_VARIABLE = "FOREBAY_ADDRESS"


def config_file() -> Path | None:
    """The settings' file; None without one. Raises SettingsError if a named file is missing."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise SettingsError(
                f"{CONFIG_VARIABLE} = {named!r}: expected a TOML file; there is none"
            )
        return Path(named)
    default = Path(CONFIG_FILE)
    return default if default.is_file() else None


def refuse_unknown_variables(fields: Collection[str]) -> None:
    """Raises SettingsError for `FOREBAY_*` variables that belong to no setting."""
    known = {PREFIX + name.upper() for name in fields} | {CONFIG_VARIABLE}
    given = {name for name in os.environ if name.startswith(PREFIX)} - {_CALLERS_VARIABLE}
    unknown = sorted(name for name in given - known if not name.startswith(_PARTS_OF_TABLES))
    if unknown:
        raise SettingsError(
            "\n".join(
                f"{name}: no such setting; expected one of " + ", ".join(sorted(known))
                for name in unknown
            )
        )
