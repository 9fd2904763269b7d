"""`forebay protos`: the folder of Forebay's `.proto` files, for compilers of any language."""

from __future__ import annotations

from pathlib import Path

import click

_INSTALLED = Path(__file__).parents[1] / "protos"
_IN_A_CHECKOUT = Path(__file__).parents[4] / "protos"


def include_path() -> Path:
    """The folder for `protoc -I`; it contains `forebay/v1/route.proto`."""
    return _INSTALLED if _INSTALLED.is_dir() else _IN_A_CHECKOUT


@click.command()
def protos() -> None:
    """Print the include path of forebay/v1/route.proto.

    For compilers of any language: `protoc -I. -I"$(forebay protos)" …`.
    """
    click.echo(include_path())
