"""Redis' ACL rules for the users of gateways and workers. Pure.

The rules first deny everything, and then allow each command, each kind of key and each channel.
Commands of the ledger's scripts are the user's, too: Redis checks them when a script runs
(https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from forebay_backends.ledger.scripts import commands_of_scripts

_CONNECTION = frozenset({"ping", "select", "info", "multi", "exec"})
_PUBSUB = frozenset({"publish", "subscribe", "unsubscribe"})
_LEDGER = frozenset(
    {
        *("eval", "evalsha", "wait", "set", "get", "del", "mget", "pttl"),
        *("zadd", "zrem", "zrangebyscore", "hget", "xadd", "xrange", "renamenx"),
    }
)
_CLUSTER = frozenset({"cluster|slots", "cluster|shards", "cluster|nodes", "command", "readonly"})
_SEND = frozenset({"lpush", "llen", "lrem"})
_CONSUME = frozenset(
    {
        *("brpop", "blmpop", "rpush", "sadd", "srem", "smembers", "exists", "watch", "unwatch"),
        *("hset", "hget", "hdel", "zadd", "zrem", "zrange", "set", "del"),
        # kombu's scripts, and its lock for messages that were not acknowledged
        *("eval", "evalsha", "script|load", "script|exists", "time", "zrangebyscore"),
        *("get", "pexpire", "pttl", "zscore"),
    }
)
_PLAIN = re.compile(rb"[A-Za-z0-9._:/@-]")


@dataclass(frozen=True)
class Rules:
    """What a user may do."""

    commands: frozenset[str]
    keys: frozenset[str]
    channels: frozenset[str]

    def __or__(self, other: Rules) -> Rules:
        return Rules(
            self.commands | other.commands,
            self.keys | other.keys,
            self.channels | other.channels,
        )

    def line(self, user: str, password: str) -> str:
        """The user's line in an ACL file; `ACL SETUSER` takes it without the first word."""
        words = ("user", user, "reset", "on", f">{password}", *self.words)
        return " ".join(words)

    @property
    def words(self) -> tuple[str, ...]:
        """The rules without name and password."""
        return (
            *(f"~{key}" for key in sorted(self.keys)),
            *(f"&{channel}" for channel in sorted(self.channels)),
            "-@all",
            *(f"+{command}" for command in sorted(self.commands)),
        )


def ledger_rules(prefix: str, *, is_cluster: bool = False) -> Rules:
    """Gateways and workers have the same: either may find that the other has died, and repair."""
    commands = _CONNECTION | _PUBSUB | _LEDGER | commands_of_scripts()
    commands -= {"lpush"}  # scripts push messages only where the ledger is the broker
    if is_cluster:
        commands |= _CLUSTER
    return Rules(commands, frozenset({f"{prefix}forebay:*"}), frozenset({f"{prefix}forebay:*"}))


def gateway_broker_rules(prefix: str, queues: Iterable[str]) -> Rules:
    """A gateway sends, counts what waits, and takes nothing."""
    commands = _CONNECTION | _SEND | {"set", "del", "eval"}
    keys = {f"{prefix}forebay:*", *_lists(prefix, queues)}
    return Rules(commands, frozenset(keys), frozenset())


def worker_broker_rules(
    prefix: str, queues: Sequence[str], db: int, *, remote_control: bool
) -> Rules:
    """A worker takes messages, sends lost ones again, and publishes Celery's events."""
    commands = _CONNECTION | _PUBSUB | _SEND | _CONSUME
    kombu = (f"{prefix}_kombu.binding*", f"{prefix}unacked*")
    keys = {f"{prefix}forebay:*", *kombu, *_lists(prefix, queues)}
    channels = {f"{prefix}/{db}.celeryev/*"}
    if remote_control:
        keys.add(f"{prefix}*.celery.pidbox*")
        channels.add(f"{prefix}/{db}.celery.pidbox*")
    return Rules(commands, frozenset(keys), frozenset(channels))


def _lists(prefix: str, queues: Iterable[str]) -> Iterable[str]:
    """Patterns of the lists that make up queues: kombu has two unprintable bytes in their names."""
    for queue in queues:
        name = prefix + pattern_of(queue)
        yield name
        yield f"{name}??[369]"


def pattern_of(name: str) -> str:
    """A pattern that the name matches; characters with a special meaning become `?`."""
    return "".join(
        byte.decode() if _PLAIN.match(byte) else "?"
        for byte in (bytes((number,)) for number in name.encode())
    )
