"""`forebay protos`: the folder of Forebay's `.proto` files, for compilers of any language."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
from google.longrunning import operations_proto_pb2

_INSTALLED = Path(__file__).parents[1] / "protos"
_IN_A_CHECKOUT = Path(__file__).parents[4] / "protos"

_FOLDERS = ("api", "longrunning", "rpc", "type")
# googleapis-common-protos contains `operations.proto` under another name.
_NAMES = {"operations_proto.proto": "operations.proto"}


def include_path() -> Path:
    """The folder for `protoc -I`; it contains `forebay/v1/route.proto`."""
    return _INSTALLED if _INSTALLED.is_dir() else _IN_A_CHECKOUT


def copy_googles(folder: Path) -> None:
    """Copies Google's API files, such as `google/longrunning/operations.proto`, to the folder.

    The files are from the installed package googleapis-common-protos.
    """
    installed = Path(operations_proto_pb2.__file__).parents[1]
    for name in _FOLDERS:
        copies = folder / "google" / name
        copies.mkdir(parents=True, exist_ok=True)
        for file in (installed / name).glob("*.proto"):
            shutil.copyfile(file, copies / _NAMES.get(file.name, file.name))


@click.command()
@click.option(
    "--google",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Copy Google's API files, such as google/longrunning/operations.proto, to this folder.",
)
def protos(google: Path | None) -> None:
    """Print the include path of forebay/v1/route.proto.

    For compilers of any language: `protoc -I. -I"$(forebay protos)" …`.
    """
    if google is not None:
        try:
            copy_googles(google)
        except OSError as error:
            raise click.ClickException(f"--google {google}: {error.strerror}") from error
    click.echo(include_path())
