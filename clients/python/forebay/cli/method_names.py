"""Names of methods as arguments: a full name, its last part, or the path of gRPC. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import click


def find_method(given: str, names: Iterable[str]) -> str:
    """The one of the full names that is meant. Raises ClickException.

    `Add`, `shop.v1.Shop.Add` and `shop.v1.Shop/Add` are forms of one name.
    """
    names = list(names)
    found = [name for name in names if given in (name, name.rpartition(".")[2], _path(name))]
    if len(found) != 1:
        problem = "no such method" if not found else "several methods have this name"
        raise click.ClickException(f"{given}: {problem}; give one of: {', '.join(names)}")
    return found[0]


def _path(name: str) -> str:
    service, _, method = name.rpartition(".")
    return f"{service}/{method}"
