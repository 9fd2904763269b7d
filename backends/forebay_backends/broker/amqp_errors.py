"""Explains RabbitMQ's errors: what it refuses, and how to fix that. Pure.

The reply codes are those of AMQP 0-9-1; RabbitMQ's texts name the queue, the virtual host and the
user, never a password (https://www.rabbitmq.com/docs/channels#error-handling).
"""

from __future__ import annotations

from amqp.exceptions import AccessRefused, AMQPError, NotAllowed, NotFound, PreconditionFailed

BLOCKED = (
    "blocks publishers: it is low on memory or on disk space (`rabbitmqctl status` lists its "
    "alarms); it resumes when the alarm is cleared"
)

_PROBLEMS: tuple[tuple[type[AMQPError], str, str], ...] = (
    (
        PreconditionFailed,
        "has a queue that is declared with other arguments",
        "delete the queue, or give the route another one: Forebay declares durable classic queues "
        "with `x-max-priority` 9, and a quorum queue can't have that",
    ),
    (
        AccessRefused,
        "refuses access",
        "check the user and the password in the URL, and give the user `configure`, `write` and "
        "`read` permissions in the virtual host",
    ),
    (NotAllowed, "refuses the virtual host", "create it, or name another one in the URL"),
    (NotFound, "lacks a queue or an exchange", "create it, or name another one"),
)


def broker_state(error: BaseException) -> str:
    """The reason why the broker does not serve, with RabbitMQ's own text if there is one."""
    for kind, state, _ in _PROBLEMS:
        if isinstance(error, kind):
            return f"{state}: {_reply_text(error)}"
    if isinstance(error, AMQPError) and error.reply_code:
        return f"refuses an operation: {_reply_text(error)}"
    return "does not answer"


def fix_of(error: BaseException | None) -> str | None:
    """The way to fix it, for an operator; None for a broker that does not answer."""
    for kind, _, fix in _PROBLEMS:
        if isinstance(error, kind):
            return fix
    return None


def _reply_text(error: AMQPError) -> str:
    return str(error.reply_text or error)
