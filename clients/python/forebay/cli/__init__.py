"""The command `forebay`. Each subcommand is an entry point of the group `forebay.commands`.

So a service that embeds the stub gets `call`, and a host with the gateway's extra
gets `up`, `gateway` and the rest; none is imported before it is asked for.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoint, entry_points, version

GROUP = "forebay.commands"


def main() -> None:
    """Runs the command line; exits with the subcommand's code."""
    try:
        import click
    except ImportError:
        sys.exit("the command line needs more than the client: pip install 'forebay[cli]'")

    class Commands(click.Group):
        """Subcommands, loaded when they are run or asked for help."""

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
            raise TypeError(f"the entry point {point.value} is no command")
        return command

    @click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
    @click.version_option(version("forebay"), prog_name="forebay")
    def forebay() -> None:
        """A gRPC gateway onto Celery workers."""

    # As `celery -A` has it: modules of one's own are found where one stands.
    sys.path.append(os.getcwd())
    forebay(prog_name="forebay")
