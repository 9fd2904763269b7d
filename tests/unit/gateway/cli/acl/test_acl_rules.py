"""Rules for Redis and permissions for RabbitMQ."""

from __future__ import annotations

import inspect
import re
from fnmatch import fnmatchcase

import kombu.transport.redis
import pytest

from forebay_backends.broker.task_messages import queue_lists
from forebay_backends.ledger.scripts import commands_of_scripts
from forebay_gateway.cli.acl.rabbitmq_rules import gateway_permissions, worker_permissions
from forebay_gateway.cli.acl.redis_rules import (
    gateway_broker_rules,
    ledger_rules,
    pattern_of,
    worker_broker_rules,
)

DANGEROUS = {
    *("keys", "config", "flushall", "flushdb", "monitor", "shutdown", "debug", "acl", "scan"),
    *("slaveof", "replicaof", "save", "bgsave", "migrate", "restore", "dump", "module", "function"),
    *("client", "cluster", "script", "swapdb", "sort", "psubscribe"),
}


@pytest.mark.parametrize("prefix", ["", "myapp:"])
def test_no_rule_is_dangerous_and_all_names_have_the_prefix(prefix: str) -> None:
    for rules in (
        ledger_rules(prefix),
        gateway_broker_rules(prefix, ["add"]),
        worker_broker_rules(prefix, ["add"], 0, remote_control=True),
    ):
        assert not rules.commands & DANGEROUS
        assert all(name.startswith(prefix) for name in rules.keys | rules.channels)
        assert "*" not in rules.keys | rules.channels
        assert rules.words.index("-@all") < min(
            rules.words.index(f"+{command}") for command in rules.commands
        )


def test_a_ledgers_user_may_run_all_commands_of_the_scripts() -> None:
    assert "hset" in commands_of_scripts()
    assert commands_of_scripts() - {"lpush"} <= ledger_rules("").commands


def test_a_worker_may_run_all_commands_of_kombus_scripts() -> None:
    source = inspect.getsource(kombu.transport.redis)
    commands = {name.lower() for name in re.findall(r"redis\.call\(\s*['\"](\w+)", source)}
    assert "sadd" in commands
    assert commands <= worker_broker_rules("", [], 0, remote_control=True).commands


def test_a_gateway_takes_no_messages() -> None:
    rules = ledger_rules("") | gateway_broker_rules("", ["add"])
    assert not rules.commands & {"brpop", "blpop", "rpop", "lpop", "lrange"}


@pytest.mark.parametrize("queue", ["add", "a*b", "[q]", "ä", "a b", "q?"])
def test_the_pattern_of_a_queue_matches_its_lists_and_no_other_queue(queue: str) -> None:
    keys = gateway_broker_rules("", [queue]).keys
    for name in queue_lists(queue):
        shown = name.encode().decode("latin-1")  # Redis compares bytes
        assert any(fnmatchcase(shown, key) for key in keys)
    assert not any(fnmatchcase("another", key) for key in keys)
    assert not set(pattern_of(queue)) & set("*[]\\ ")


def test_a_worker_that_ignores_remote_control_may_not_listen_to_it() -> None:
    rules = worker_broker_rules("", ["add"], 3, remote_control=False)
    assert rules.channels == {"/3.celeryev/*"}
    permissions = worker_permissions(["add"], remote_control=False)
    assert not re.fullmatch(permissions.read, "celery.pidbox")
    assert re.fullmatch(worker_permissions([], remote_control=True).read, "celery.pidbox")


def test_rabbitmqs_permissions_name_the_queues_alone() -> None:
    permissions = gateway_permissions(["a.b", "c"])
    for pattern in (permissions.configure, permissions.write, permissions.read):
        assert re.fullmatch(pattern, "a.b")
        assert not re.fullmatch(pattern, "axb")
        assert not re.fullmatch(pattern, "another")
    assert re.fullmatch(permissions.write, "amq.default")
    assert not re.fullmatch(permissions.read, "amq.default")
