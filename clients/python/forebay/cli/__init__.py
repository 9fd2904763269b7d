"""The command `forebay`. Each subcommand is an entry point of the group `forebay.commands`.

The client's extra `cli` installs `call` and others, the extra `gateway` adds `up`, `gateway` and
more. A subcommand is imported when it is run or listed.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoint, entry_points, version

GROUP = "forebay.commands"


def main() -> None:
    """Runs the command line; exits with the subcommand's exit code."""
    try:
        import click
    except ImportError:
        sys.exit("the command line needs more packages: pip install 'forebay[cli]'")

    class Commands(click.Group):
        def list_commands(self, ctx: click.Context) -> list[str]:
            return sorted(point.name for point in entry_points(group=GROUP))

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            for point in entry_points(group=GROUP):
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
                f"the entry point {point.value} of {GROUP} is no click.Command; "
                "uninstall or fix the package that declares it"
            )
        return command

    @click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
    @click.version_option(version("forebay"), prog_name="forebay")
    def forebay() -> None:
        """A gRPC gateway onto Celery workers."""

    # As `celery -A` does: modules in the current folder can be imported.
    sys.path.append(os.getcwd())
    forebay(prog_name="forebay")
