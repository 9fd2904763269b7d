"""The command `forebay` as a group of click's, whose subcommands are entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points, version

import click

ENTRY_POINTS = "forebay.commands"


class EntryPointGroup(click.Group):
    """Subcommands that are imported when they are run or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(point.name for point in entry_points(group=ENTRY_POINTS))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for point in entry_points(group=ENTRY_POINTS):
            if point.name == cmd_name:
                return _load(point)
        return None


def _load(point: EntryPoint) -> click.Command:
    try:
        command = point.load()
    except ImportError as error:
        problem = f"{point.name} needs {error.name}: pip install 'forebay[gateway]'"

        @click.command(point.name, short_help=f"(not installed: {problem})")
        def missing() -> None:
            raise click.ClickException(problem)

        return missing
    if not isinstance(command, click.Command):
        raise TypeError(
            f"the entry point {point.value} of {ENTRY_POINTS} is not a click.Command; "
            "uninstall or fix the package that declares it"
        )
    return command


@click.command(cls=EntryPointGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("forebay"), prog_name="forebay")
def forebay() -> None:
    """A gRPC gateway onto Celery workers."""
