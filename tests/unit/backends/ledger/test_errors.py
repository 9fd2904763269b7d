"""Error replies of a Redis are outages that name what keeps the server from serving."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis import exceptions as redis_errors
from redis.asyncio.connection import Connection

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.errors import is_demotion, mapped, mapped_errors
from forebay_backends.ledger.permissions import missing_rule


@pytest.mark.parametrize(
    "error",
    [
        redis_errors.ReadOnlyError("You can't write against a read only replica."),
        redis_errors.MasterDownError("Link with MASTER is down"),
        redis_errors.ResponseError(
            "Error running script (call to f_ab): @user_script:1: -READONLY You can't write "
            "against a read only replica."
        ),
    ],
)
def test_a_reply_of_a_replica_is_a_demotion(error: Exception) -> None:
    assert is_demotion(error)
    unavailable = mapped(error)
    assert isinstance(unavailable, BackendUnavailable)
    assert "a replica" in unavailable.message


def test_other_errors_are_no_demotion() -> None:
    assert not is_demotion(redis_errors.OutOfMemoryError("command not allowed"))
    assert not is_demotion(redis_errors.ConnectionError("reset"))
    assert not is_demotion(None)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("User app has no permissions to run the 'evalsha' command", "+@scripting"),
        ("User app has no permissions to run the 'publish' command", "+@pubsub"),
        ("User app has no permissions to run the 'xadd' command", "+xadd"),
        ("User app has no permissions to run the 'config|get' command", "+config"),
        ("No permissions to access a key", "~forebay:*"),
        ("No permissions to access a channel", "&forebay:*"),
        ("User app has no permissions to access the 'forebay:probe' key", "~forebay:*"),
        ("User app has no permissions to access the 'forebay:x' channel", "&forebay:*"),
        ("ACL failure in script: No permissions to access a channel", "&forebay:*"),
        ("The user executing the script can't run this command or subcommand", "+@all"),
        (
            "The user executing the script can't access at least one of the keys mentioned in the "
            "command arguments",
            "~forebay:*",
        ),
        (
            "The user executing the script can't publish to the channel mentioned in the command",
            "&forebay:*",
        ),
    ],
)
def test_a_missing_permission_is_named_by_the_acl_rule_that_would_give_it(
    text: str, rule: str
) -> None:
    kind = redis_errors.ResponseError if "script" in text else redis_errors.NoPermissionError
    error = kind(text)
    assert missing_rule(error) == rule
    unavailable = mapped(error)
    assert isinstance(unavailable, BackendUnavailable)
    needed = {"&": "on a channel", "~": "on a key", "+": "that Forebay needs"}[rule[0]]
    assert "does not permit its user a command" in unavailable.message
    assert needed in unavailable.message


def test_an_error_that_means_a_bug_stays_as_it_is() -> None:
    bug = redis_errors.ResponseError("wrong number of arguments for 'xadd' command")
    assert mapped(bug) is bug
    assert missing_rule(bug) is None


async def test_a_connection_that_is_closed_while_a_command_is_sent_is_an_outage() -> None:
    """redis-py's client of a cluster closes connections that other commands use."""
    connection = Connection(retry=None)
    reader, writer = asyncio.StreamReader(), None
    connection._reader, connection._writer = reader, writer  # type: ignore[assignment]
    connection._parser.on_connect(connection)
    with pytest.raises(BackendUnavailable, match="does not answer"), mapped_errors():
        await connection.send_packed_command([b"PING"], check_health=False)


def test_our_own_bugs_are_no_outage() -> None:
    nothing: Any = None
    with pytest.raises(AttributeError, match="writelines"), mapped_errors():
        nothing.writelines([])
