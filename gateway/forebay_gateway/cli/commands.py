"""The commands `forebay gateway`, `up`, `routes` and `doctor`.

Modules that only some of them need are imported there: a gateway would keep them in memory.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from forebay.cli.options import json_option, target_option
from forebay.cli.target import Target
from forebay.cli.targets import checked_target
from forebay.routes import Method, RouteError
from forebay_backends.embedded.errors import EmbeddedServerError
from forebay_backends.embedded.server import EmbeddedServer, is_running
from forebay_backends.settings import (
    LOG_FORMATS,
    LOG_LEVELS,
    Settings,
    SettingsError,
    load_settings,
)
from forebay_gateway.cli.greeting import greeting
from forebay_gateway.cli.run import (
    error_text,
    interrupt_at_sigterm,
    log_to_stderr,
    run,
    stop_signal,
)
from forebay_gateway.cli.up import COMPUTE_APPLICATION, POOLS, everything_up
from forebay_gateway.profiling.profiler import MAX_DURATION_S
from forebay_gateway.server.errors import GatewayError
from forebay_gateway.server.identity import make_identity
from forebay_gateway.server.lame_duck import LameDuck
from forebay_gateway.server.methods import (
    applications_of,
    load_methods,
    needs_ledger,
    needs_main_broker,
)
from forebay_gateway.server.processes import running_gateways
from forebay_gateway.server.web_port import reserved_web_port, serves_http_by_default, web_url

if TYPE_CHECKING:
    from forebay_gateway.cli.served_methods import Answers

_WAITING_CALLS = 100
"""Calls at a time and queue with `up --pool asyncio`: its handlers mostly wait."""

F = TypeVar("F", bound=Callable[..., Any])

_processes = click.option(
    "--processes", type=click.IntRange(1), metavar="N", help="Gateway processes on the port [1]."
)

_admin_listen = click.option(
    "--admin-listen", metavar="HOST:PORT", help="Metrics and probes, on loopback; unset: none."
)

_web_listen = click.option(
    "--web-listen",
    metavar="HOST:PORT",
    help="Where browsers and HTTP/1.1 are served; `forebay up`: [127.0.0.1:8080], '' for none.",
)

_insecure = click.option(
    "--insecure",
    is_flag=True,
    default=None,
    help="Listen beyond loopback without TLS or authentication.",
)

_log_level = click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS, case_sensitive=False),
    help="The least severe messages to log [INFO].",
)

_log_format = click.option(
    "--log-format", type=click.Choice(LOG_FORMATS), help="Lines of the log [text]."
)


def _options(command: F) -> F:
    """Adds the flags of every command that reads settings; each sets the setting of its name."""
    for option in (
        click.option(
            "--service",
            "services",
            multiple=True,
            metavar="MODULE|FILE",
            help="Compiled protobuf module, or descriptor set, to serve; repeatable.",
        ),
        click.option(
            "--routes", metavar="FILE", help="Routes for services whose .proto has none (TOML)."
        ),
        click.option("--listen", metavar="HOST:PORT", help="Where to listen [127.0.0.1:50051]."),
        click.option(
            "--ledger-url",
            metavar="URL",
            help="Redis or Valkey; unset: embedded. The system's process list shows it: if it has "
            "a password, set FOREBAY_LEDGER_URL or the file's ledger_url instead.",
        ),
        click.option(
            "--broker-url",
            metavar="URL",
            help="Redis or AMQP; unset: the ledger's. The process list shows it, as --ledger-url.",
        ),
        click.option("--data-dir", metavar="DIR", help="The embedded server's folder."),
    ):
        command = option(command)
    return command


def _target_of_listen(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """The option `--target`; by default `--listen`, if it is given."""
    listen = ctx.params.get("listen")
    is_default = ctx.get_parameter_source("target") is ParameterSource.DEFAULT
    return checked_target(ctx, param, listen if is_default and listen else value)


def _checked_app(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """The option `--app`; only its first part can be looked for without importing it."""
    package = re.split("[.:]", value)[0]
    if package and package not in sys.modules and find_spec(package) is None:
        problem = f"{value!r}: there is no module {package!r} here; expected MODULE or MODULE:APP"
        raise click.BadParameter(problem, ctx, param)
    return value


_asked = target_option("The gateways to ask.", callback=_target_of_listen)


@click.command()
@_options
@_insecure
@_processes
@_admin_listen
@_web_listen
@_log_level
@_log_format
def gateway(**flags: Any) -> None:
    """Serve gRPC, and send calls to Celery workers.

    Without --ledger-url, the gateway starts the embedded server, unless `forebay up` or
    another gateway of this user already runs it.
    """
    interrupt_at_sigterm()
    settings = _settings(flags)
    embedded = _needs_embedded(settings, _servable(settings))

    async def serve(settings: Settings) -> None:
        lame_duck = LameDuck(settings.lame_duck_s)
        async with running_gateways(settings, lame_duck) as address:
            stopped = stop_signal(lame_duck)
            click.echo(f"forebay gateway ready on {address}")
            if settings.web_listen is not None:
                click.echo(f"  serves browsers on {web_url(settings)}")
            await stopped
            accepts_s = 0.0 if lame_duck.is_over else lame_duck.lame_duck_s
            accepts = f"; it accepts calls for {accepts_s:g} s" if accepts_s else ""
            click.echo(f"forebay gateway is stopping{accepts}", err=True)

    starts_embedded = embedded and not is_running(settings.data_dir)
    with _web_port(settings) as settings, _embedded(settings) if starts_embedded else nullcontext():
        run(serve(settings))
    click.echo("forebay gateway has stopped", err=True)


@click.command()
@_options
@_insecure
@_processes
@_admin_listen
@_web_listen
@_log_level
@_log_format
@click.option("--concurrency", type=click.IntRange(1), help="Concurrent calls per queue.")
@click.option(
    "--pool",
    type=click.Choice(POOLS),
    help="The workers' pool: asyncio runs coroutine handlers on one event loop, 100 by default.",
)
@click.option(
    "--app",
    "-A",
    default=COMPUTE_APPLICATION,
    show_default=True,
    metavar="APP",
    callback=_checked_app,
    help="As for `celery -A`.",
)
@click.option(
    "--reload",
    is_flag=True,
    help="Restart when a .py, .toml or .binpb file of this folder changes.",
)
def up(concurrency: int | None, pool: str | None, app: str, reload: bool, **flags: Any) -> None:
    """Run everything: the embedded server, a worker for each queue, the gateway.

    Ctrl-C stops it: the gateway drains, then the workers stop, then the server. The log has what
    the handlers log and print; Celery's own lines only from WARNING on, or with DEBUG.
    """
    interrupt_at_sigterm()
    if reload:
        from forebay_gateway.cli.reload import reloading

        run(reloading(sys.argv, Path.cwd()))
        return
    settings = _settings(flags)
    methods = _servable(settings, serves_http=serves_http_by_default(settings))
    embedded = _needs_embedded(settings, methods)
    slots = concurrency or _default_concurrency(pool)
    # Another terminal's `forebay call` has its own default.
    names_address = flags["listen"] is not None or "FOREBAY_ADDRESS" in os.environ

    async def serve(settings: Settings) -> None:
        async with everything_up(settings, slots, app, pool) as address:
            stopped = stop_signal()
            click.echo(f"forebay up and ready on {address}")
            web = web_url(settings)
            click.echo(greeting(methods, address, _program(), names_address=names_address, web=web))
            await stopped
            click.echo("forebay is stopping", err=True)

    starts = _embedded(settings) if embedded else nullcontext()
    with _web_port(settings, by_default=True) as settings, starts:
        run(serve(settings))
    click.echo("forebay has stopped", err=True)


@click.command()
@_options
@_asked
@json_option
def routes(target: Target, as_json: bool, **flags: Any) -> None:
    """Show the task, queue, policy, permission and workers of each method.

    Ask the gateway; the settings and their ledger fill in the rest. With options for settings,
    everything comes from the settings.
    """
    from forebay_gateway.cli.display import show_routes
    from forebay_gateway.cli.doctor import find_workers
    from forebay_gateway.cli.plain_checks import find_plain_consumers
    from forebay_gateway.cli.served_methods import routed_methods, served_methods

    settings = _settings(flags)
    answers = _ask(target, flags)
    served = answers.served
    if served is None:
        if answers.problem:
            click.echo(f"{answers.problem}; what it did not say is from the settings", err=True)
        methods = routed_methods(answers, lambda: _loaded(settings))
        workers = run(find_workers(settings)) if needs_ledger(methods) else ()
        plain = run(find_plain_consumers(settings, methods))
        served = served_methods(methods, workers, plain)
    show_routes(served, as_json=as_json)


@click.command()
@_options
@_asked
@click.option(
    "--profile",
    "profile_s",
    type=click.FloatRange(0, MAX_DURATION_S, min_open=True),
    metavar="SECONDS",
    help="Check nothing: sample where the gateway spends its CPU time, and write a flame graph.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write the flame graph [forebay-profile-TIME.html].",
)
@json_option
def doctor(
    target: Target, profile_s: float | None, output: Path | None, as_json: bool, **flags: Any
) -> None:
    """Check everything that a call needs; report each problem and how to fix it.

    The gateway is asked for methods, workers and what it knows to be wrong. The settings and their
    ledger fill in the rest. With options for settings, methods and workers come from the settings.
    """
    from forebay_gateway.cli.display import show_findings
    from forebay_gateway.cli.doctor import examine
    from forebay_gateway.cli.served_methods import routed_methods

    if profile_s is not None:
        from forebay_gateway.cli.profile import write_profile

        write_profile(target, profile_s, output)
        return
    if output is not None:
        raise click.UsageError("--output needs --profile")
    settings = _settings(flags)
    answers = _ask(target, flags)
    methods = routed_methods(answers, lambda: _loaded(settings))
    findings = run(examine(settings, methods, target, answers.served, answers.unreachable))
    show_findings(findings, as_json=as_json)
    if not all(finding.good for finding in findings):
        raise SystemExit(1)


def _ask(target: Target, flags: dict[str, Any]) -> Answers:
    """The gateway's answers; none if flags describe another gateway."""
    from forebay_gateway.cli.served_methods import Answers, ask

    others = any(value for name, value in flags.items() if name != "listen")
    return Answers() if others else ask(target)


def _servable(settings: Settings, *, serves_http: bool | None = None) -> tuple[Method, ...]:
    """The methods; the problems of identity are reported, too, before anything is started."""
    methods = _loaded(settings, serves_http)
    try:
        make_identity(settings, methods)
    except SettingsError as error:
        raise click.ClickException(error_text(error)) from error
    return methods


def _loaded(settings: Settings, serves_http: bool | None = None) -> tuple[Method, ...]:
    try:
        methods = load_methods(settings, serves_http=serves_http)
        for name in applications_of(methods):
            from forebay_gateway.plain.brokers.choice import check_results

            check_results(settings.application(name))
        return methods
    except (SettingsError, RouteError) as error:
        raise click.ClickException(error_text(error)) from error


@contextmanager
def _web_port(settings: Settings, *, by_default: bool = False) -> Iterator[Settings]:
    """The settings with the port of the web front, which is reserved until the block is left."""
    try:
        with reserved_web_port(settings, by_default=by_default) as settings:
            yield settings
    except GatewayError as error:
        raise click.ClickException(error_text(error)) from error


def _needs_embedded(settings: Settings, methods: tuple[Method, ...]) -> bool:
    """Whether the ledger, or a broker without a URL, is to be on the embedded server.

    Takes the methods, so that they are loaded, and their problems reported, before
    anything is started.
    """
    if settings.ledger_url is not None:
        return False
    own_broker = settings.broker_url is None and needs_main_broker(methods)
    return own_broker or needs_ledger(methods)


def _default_concurrency(pool: str | None) -> int:
    if pool == "asyncio":
        return _WAITING_CALLS
    return max(1, (os.cpu_count() or 1) // 2)


def _program() -> str:
    """`forebay`, or its path if that is not on the PATH."""
    path = sys.argv[0]
    found = shutil.which("forebay")
    return (
        "forebay"
        if found is not None and os.path.realpath(found) == os.path.realpath(path)
        else path
    )


def _settings(flags: dict[str, Any]) -> Settings:
    flags["services"] = flags["services"] or None
    try:
        settings = load_settings(flags)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    log_to_stderr(settings.log_level, settings.log_format)
    return settings


def _embedded(settings: Settings) -> EmbeddedServer:
    try:
        return EmbeddedServer(settings.data_dir)
    except EmbeddedServerError as error:
        raise click.ClickException(str(error)) from error
