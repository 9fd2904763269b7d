"""Parses Redis' permission errors, and finds the ACL rule that a user lacks. Pure.

For example, "NOPERM User app has no permissions to run the 'evalsha' command" means that the user
lacks `+@scripting`. In an error of a script the same text follows "ACL failure in script". Redis
7.0 writes "The user executing the script can't" instead, and does not name the command
(https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/).
"""

from __future__ import annotations

import re

from redis import exceptions as redis_errors

_COMMAND = re.compile(r"no permissions to run the '([^']+)' command")
_IN_SCRIPTS = ("ACL failure in script", "The user executing the script can't")
_CATEGORIES = {
    "@scripting": ("eval", "evalsha"),
    "@pubsub": ("publish", "subscribe", "psubscribe", "unsubscribe", "punsubscribe"),
    "@transaction": ("multi", "exec", "discard", "watch", "unwatch"),
}


def is_forbidden(error: BaseException | None) -> bool:
    """Whether the server refused this user a command, a key or a channel."""
    return isinstance(error, redis_errors.NoPermissionError) or (
        isinstance(error, redis_errors.ResponseError)
        and any(text in str(error) for text in _IN_SCRIPTS)
    )


def forbidden(error: BaseException) -> str:
    """The forbidden action, such as "a command on a key that Forebay needs"."""
    if command := _COMMAND.search(str(error)):
        return f"a command that Forebay needs, {command.group(1)!r}"
    for what in ("channel", "key"):
        if what in str(error):
            return f"a command on a {what} that Forebay needs"
    return "a command that Forebay needs"


def permission_fix(error: BaseException | None, prefix: str) -> str | None:
    """How to allow what the server refused; None for any other error. See `missing_rule`."""
    rule = missing_rule(error, prefix)
    return rule and f"give the user the rule `{rule}` (ACL SETUSER USER {rule}); docs/redis.md"


def missing_rule(error: BaseException | None, prefix: str = "forebay:") -> str | None:
    """The ACL rule that would allow what the server refused; None for any other error.

    The names of keys and channels begin with `prefix`.
    """
    if not is_forbidden(error):
        return None
    text = str(error)
    if command := _COMMAND.search(text):
        name = command.group(1).partition("|")[0].lower()
        return next(
            (f"+{category}" for category, names in _CATEGORIES.items() if name in names), f"+{name}"
        )
    if "channel" in text:
        return f"&{prefix}*"
    if "key" in text:
        return f"~{prefix}*"
    return "+@all"  # a command that the server does not name
