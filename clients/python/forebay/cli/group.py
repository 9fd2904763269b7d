"""The command `forebay`: a click group whose subcommands are entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import click

from forebay.cli.summaries import docstring_of
from forebay.extras import command_to_install, explained, missing_of

ENTRY_POINTS = "forebay.commands"
_EXTRAS = {"forebay": "cli", "forebay_gateway": "gateway"}
"""The extras of our packages' commands; other packages install what theirs need."""
_LONGEST_SUMMARY = 200


class EntryPointGroup(click.Group):
    """Imports a subcommand when it is run; `--help` reads docstrings from source files instead."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(point.name for point in entry_points(group=ENTRY_POINTS))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for point in entry_points(group=ENTRY_POINTS):
            if point.name == cmd_name:
                return _load(point)
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands with their summaries."""
        points = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
        with formatter.section("Commands"):
            formatter.write_dl([(point.name, _summary(point)) for point in points])


def _summary(point: EntryPoint) -> str:
    """The first sentence of the command's help, which click would cut off at the line's end.

    If the command's extra is not installed, the summary says what to install.
    """
    extra = _EXTRAS.get(point.module.partition(".")[0])
    text = None if extra is not None and missing_of(extra) else docstring_of(point)
    command = _load(point) if text is None else click.Command(point.name, help=text)
    return command.get_short_help_str(_LONGEST_SUMMARY)


def _load(point: EntryPoint) -> click.Command:
    try:
        command = point.load()
    except ImportError as error:
        return _not_installed(point, error)
    if not isinstance(command, click.Command):
        raise TypeError(
            f"the entry point {point.value} of {ENTRY_POINTS} is not a click.Command; "
            "uninstall or fix the package that declares it"
        )
    return command


def _not_installed(point: EntryPoint, error: ImportError) -> click.Command:
    """A command that takes any arguments and fails; its message says what to install."""
    extra = _EXTRAS.get(point.module.partition(".")[0])
    if extra is None:
        problem, summary = error, f"(can't be imported: {error})"
    else:
        problem = explained(error, point.name, extra)
        summary = f"(not installed: {command_to_install(extra)})"

    @click.command(
        point.name,
        short_help=summary,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True},
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def not_installed(arguments: tuple[str, ...]) -> None:
        raise click.ClickException(str(problem))

    return not_installed


@click.command(cls=EntryPointGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="forebay", prog_name="forebay")
def forebay() -> None:
    """A gRPC gateway onto Celery workers."""
