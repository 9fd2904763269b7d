"""`forebay new NAME`: writes a project, and generates its stubs if grpcio-tools is installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import click

from forebay.cli.protos import include_path
from forebay_gateway.cli.new.origin import pip_arguments
from forebay_gateway.cli.new.project import NameRefused, checked_name, project_files, proto_path


@click.command()
@click.argument("name")
def new(name: str) -> None:
    """Write a new project to the folder NAME.

    It has a service with two RPCs and their routes, handlers, a worker, tests that
    start all of it, and a Makefile.
    """
    folder = _folder(name)
    forebay = distribution("forebay")
    source = pip_arguments(forebay.read_text("direct_url.json"))
    _write(folder, project_files(name, forebay.version, source))
    has_compiler = importlib.util.find_spec("grpc_tools") is not None
    if has_compiler:
        _generate(folder, proto_path(name))
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        click.echo(path)
    steps = "make test" if has_compiler else "make setup proto test"
    click.echo(f"next: cd {folder} && {steps}")


def _folder(name: str) -> Path:
    """The new folder; raises ClickException if the name can't be used."""
    try:
        folder = Path(checked_name(name))
    except NameRefused as error:
        raise click.ClickException(str(error)) from error
    if folder.exists():
        raise click.ClickException(f"{folder} exists already; remove it, or choose another name")
    found = importlib.util.find_spec(name)
    if found is not None:
        raise click.ClickException(
            f"{name!r} is already an installed module ({found.origin or 'a package'}): one "
            "of the two would hide the other; choose another name"
        )
    return folder


def _write(folder: Path, texts: dict[str, str]) -> None:
    try:
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"can't write {folder}: {error.strerror}") from error


def _generate(folder: Path, proto: str) -> None:
    """Does the same as the project's `make proto`."""
    done = subprocess.run(
        [
            *[sys.executable, "-m", "grpc_tools.protoc", "-Iprotos", f"-I{include_path()}"],
            *["--python_out=.", "--pyi_out=.", "--grpc_python_out=.", proto],
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise click.ClickException(f"the stubs can't be generated:\n{done.stderr}")
