"""`forebay import APP`: prints a `.proto` with a route for each task of a Celery application."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase

import click

from forebay_gateway.cli.import_app.application import (
    ApplicationError,
    configuration_problems,
    load_application,
    read_tasks,
)
from forebay_gateway.cli.import_app.names import camel_case, snake_case
from forebay_gateway.cli.import_app.proto import MessageType, Rpc, declared
from forebay_gateway.cli.import_app.render import render
from forebay_gateway.cli.import_app.routes import make_rpcs, untyped_places
from forebay_gateway.cli.import_app.signatures import Task

_SHOWN_PLACES = 5
_PACKAGE = re.compile(r"[a-zA-Z]\w*(\.[a-zA-Z]\w*)*", re.ASCII)
_SERVICE = re.compile(r"[a-zA-Z]\w*", re.ASCII)


@click.command("import")
@click.argument("app")
@click.option("--package", metavar="NAME", help="The package [mypkg.v1].")
@click.option("--service", metavar="NAME", help="The service [MypkgService].")
@click.option(
    "--include", multiple=True, metavar="PATTERN", help='Only these tasks: "shop.*"; repeatable.'
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Not these tasks; repeatable.")
@click.option("--queue", metavar="NAME", help="The queue of all tasks [each task's own].")
@click.option(
    "--application", metavar="NAME", help="APP's name in the gateway's setting `applications`."
)
def import_(
    app: str,
    package: str | None,
    service: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    queue: str | None,
    application: str | None,
) -> None:
    """Print a .proto with a route for each task of the Celery application APP.

    APP is as for `celery -A`, such as mypkg.app:app. The types come from the tasks'
    annotations, the comments from their docstrings.

    Example: `forebay import mypkg.app:app > app.proto`.
    """
    package = _checked(package or _default_package(app), _PACKAGE, "--package", "shop.v1")
    service = _checked(service or _default_service(package), _SERVICE, "--service", "ShopService")
    with _only_stdout() as out:
        try:
            loaded = load_application(app)
            tasks = _chosen(read_tasks(loaded), include, exclude)
            problems = [*configuration_problems(loaded)]
        except ApplicationError as error:
            raise click.ClickException(str(error)) from error
        if queue:
            tasks = [replace(task, queue=queue, queue_is_known=True) for task in tasks]
        problems += _queue_problems(tasks)
        rpcs = [replace(rpc, application=application or "") for rpc in make_rpcs(tasks)]
        command = shlex.join(["forebay", "import", *sys.argv[2:]])
        text = render(
            rpcs,
            package,
            service,
            f"Routes to the tasks of {app}, made by `{command}`.",
            f"The tasks of {app}.",
        )
        with open(out, "wb", closefd=False) as stdout:
            stdout.write(text.encode())
        messages = [kind for kind in declared(rpcs) if isinstance(kind, MessageType)]
        _tell(rpcs, service, package, untyped_places(rpcs, messages), problems)


@contextmanager
def _only_stdout() -> Iterator[int]:
    """The real standard output; what the application prints goes to standard error instead."""
    sys.stdout.flush()
    out = os.dup(1)
    os.dup2(2, 1)
    try:
        yield out
    finally:
        sys.stdout.flush()  # an application may print at exit, too: 1 is not restored
        os.close(out)


def _checked(name: str, pattern: re.Pattern[str], option: str, example: str) -> str:
    if not pattern.fullmatch(name):
        raise click.ClickException(
            f"{option} {name!r}: expected letters, digits and _, such as {example}"
        )
    return name


def _default_package(app: str) -> str:
    return f"{snake_case(re.split('[.:]', app)[0], 'app')}.v1"


def _default_service(package: str) -> str:
    """The name of the package without its version."""
    parts = [part for part in package.split(".") if not re.fullmatch(r"v\d\w*", part)]
    return f"{camel_case((parts or ['App'])[-1], 'App')}Service"


def _chosen(tasks: Sequence[Task], include: Sequence[str], exclude: Sequence[str]) -> list[Task]:
    """The tasks that match; raises ClickException if none does, or a pattern matches none."""
    if not tasks:
        raise click.ClickException(
            "the application has no tasks; name their modules in its `include`, or call "
            "`autodiscover_tasks`, so that a worker knows them"
        )
    for option, patterns in (("--include", include), ("--exclude", exclude)):
        for pattern in patterns:
            if not any(_matches(task, [pattern]) for task in tasks):
                raise click.ClickException(
                    f"{option} {pattern!r} matches none of {len(tasks)} tasks, "
                    f"such as {tasks[0].name}"
                )
    chosen = [
        task
        for task in tasks
        if (not include or _matches(task, include)) and not _matches(task, exclude)
    ]
    if not chosen:
        raise click.ClickException(f"--include and --exclude leave none of {len(tasks)} tasks")
    return chosen


def _matches(task: Task, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(task.name, pattern) for pattern in patterns)


def _queue_problems(tasks: Sequence[Task]) -> Iterator[str]:
    unknown = [task for task in tasks if not task.queue_is_known]
    if unknown:
        names = ", ".join(task.name for task in unknown[:_SHOWN_PLACES])
        yield (
            f"the queue of {_counted(unknown, 'task')} ({names}) depends on the call, or on the "
            f'broker: check `queue: "{unknown[0].queue}"` in the file, or give --queue'
        )


def _counted(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _tell(
    rpcs: Sequence[Rpc],
    service: str,
    package: str,
    untyped: Sequence[str],
    problems: Sequence[str],
) -> None:
    """Says on standard error what was written and what to look at."""
    click.echo(f"{_counted(rpcs, 'task')} as {package}.{service}", err=True)
    if untyped:
        click.echo(f"any JSON (google.protobuf.Value) in {_counted(untyped, 'place')}:", err=True)
        for place in untyped[:_SHOWN_PLACES]:
            click.echo(f"  {place}", err=True)
        if len(untyped) > _SHOWN_PLACES:
            more = len(untyped) - _SHOWN_PLACES
            click.echo(f"  and {more} more; search the file for `Any JSON`", err=True)
    for problem in problems:
        click.echo(f"warning: {problem}", err=True)
