"""The command `forebay acl`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

from forebay.routes import RouteError
from forebay_backends.settings import Settings, SettingsError, load_settings
from forebay_backends.urls import AmqpServer, RedisServer
from forebay_gateway.cli.acl.rabbitmq_rules import gateway_permissions, worker_permissions
from forebay_gateway.cli.acl.redis_rules import (
    Rules,
    gateway_broker_rules,
    ledger_rules,
    worker_broker_rules,
)
from forebay_gateway.server.methods import load_methods

_PASSWORDS = ("GATEWAY-PASSWORD", "WORKER-PASSWORD")


@dataclass(frozen=True)
class _Users:
    gateway: str
    worker: str

    def lines(self, gateway: Rules, worker: Rules) -> Iterator[str]:
        yield gateway.line(self.gateway, _PASSWORDS[0])
        yield worker.line(self.worker, _PASSWORDS[1])


@click.command()
@click.option("--queue", "more", multiple=True, metavar="NAME", help="A queue that no route names.")
@click.option("--gateway-user", default="forebay-gateway", show_default=True, metavar="NAME")
@click.option("--worker-user", default="forebay-worker", show_default=True, metavar="NAME")
@click.option(
    "--rabbitmq", is_flag=True, help="Print the permissions at RabbitMQ, not those at Redis."
)
def acl(more: Sequence[str], gateway_user: str, worker_user: str, *, rabbitmq: bool) -> None:
    """Print the least rights that gateways and workers need at broker and ledger.

    For Redis and Valkey: lines of an ACL file, for each server. For RabbitMQ: commands. They follow
    the settings: URLs, key prefix, routes, and whether workers obey remote control.
    """
    try:
        settings = load_settings()
        methods = load_methods(settings)
    except (SettingsError, RouteError) as error:
        raise click.ClickException(str(error)) from error
    told = {method.route.on_end.queue for method in methods if method.route.on_end is not None}
    queues = sorted(
        {method.route.queue for method in methods if not method.is_plain} | told | {*more}
    )
    users = _Users(gateway_user, worker_user)
    lines = _rabbitmq(settings, queues, users) if rabbitmq else _redis(settings, queues, users)
    click.echo("\n".join(lines))


def _redis(settings: Settings, queues: Sequence[str], users: _Users) -> Iterator[str]:
    backends, prefix = settings.backends(), settings.key_prefix
    ledger = ledger_rules(prefix, is_cluster=backends.ledger.is_cluster)
    broker = backends.broker
    if not isinstance(broker, RedisServer):
        yield f"# {backends.ledger.shown}: the ledger; `forebay acl --rabbitmq` has the broker"
        yield from users.lines(ledger, ledger)
        return
    gateway = gateway_broker_rules(prefix, queues)
    control = settings.obeys_remote_control
    worker = worker_broker_rules(prefix, queues, broker.db, remote_control=control)
    if backends.broker_is_ledger:
        yield f"# {broker.shown}: ledger and broker"
        yield from users.lines(ledger | gateway, ledger | worker)
        return
    yield f"# {backends.ledger.shown}: the ledger"
    yield from users.lines(ledger, ledger)
    yield f"# {broker.shown}: the broker"
    yield from users.lines(gateway, worker)


def _rabbitmq(settings: Settings, queues: Sequence[str], users: _Users) -> Iterator[str]:
    broker = settings.backends().broker
    vhost = "/"
    if isinstance(broker, AmqpServer):
        vhost = broker.nodes[0].virtual_host.removeprefix("/") or "/"
    control = settings.obeys_remote_control
    yield gateway_permissions(queues).line(users.gateway, vhost)
    yield worker_permissions(queues, remote_control=control).line(users.worker, vhost)
