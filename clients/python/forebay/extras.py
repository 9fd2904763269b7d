"""The extras that Forebay is installed with, such as `forebay[gateway]`, and what one lacks."""

from __future__ import annotations

import re
from importlib import metadata

_OF_EXTRA = re.compile(r"""([\w.-]+).*;.*\bextra\s*==\s*["']([\w-]+)["']""")


def missing_of(extra: str) -> list[str]:
    """The distributions of the extra that are not installed. Versions are not compared."""
    required = map(_OF_EXTRA.match, metadata.requires("forebay") or ())
    names = {match[1] for match in required if match is not None and match[2] == extra}
    return sorted(name for name in names if not _is_installed(name))


def command_to_install(extra: str) -> str:
    """The command that adds the extra to this environment, whatever Forebay was installed from."""
    return f"pip install 'forebay[{extra}]'"


def explained(error: ImportError, wanted_by: str, extra: str) -> ImportError:
    """An error that says how to install the extra; the given error if the extra is complete."""
    missing = missing_of(extra)
    if not missing:
        return error
    packages = ", ".join(missing)
    return ImportError(f"{wanted_by} needs {packages}: {command_to_install(extra)}")


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
