"""Maps redis-py's errors: an outage or a refusal becomes `BackendUnavailable`."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions as redis_errors

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.permissions import forbidden, is_forbidden

RETRY_AFTER_S = 1.0
"""How long callers are asked to wait before they retry."""
RETRY_FOR_S = 60.0
"""How long an outage may last before gateways give up calls in flight, and workers attempts."""
RETRY_DELAY_S = 0.5

# Error replies that mean "not now" rather than "wrong command": redis-py's class or, if there is
# none, the reply's first word; then the server's state, for the error message.
_NOT_NOW: dict[type[redis_errors.RedisError] | str, str] = {
    redis_errors.OutOfMemoryError: "is full",
    redis_errors.ReadOnlyError: "is read-only, a replica",
    redis_errors.MasterDownError: "is a replica without its primary",
    redis_errors.ClusterDownError: "is a cluster that is down",
    redis_errors.TryAgainError: "is moving its keys",
    redis_errors.MovedError: "is a node of a Redis Cluster: write its URL as redis-cluster://…",
    redis_errors.AskError: "is moving its keys",
    redis_errors.ClusterError: "is moving its keys",  # redis-py met one redirection after another
    redis_errors.AuthenticationError: "refuses the user or the password",
    "NOREPLICAS": "has too few replicas to take writes",
    "MISCONF": "can't write to its disk",
    "BUSY": "is busy with a script",
}


def is_demotion(error: BaseException | None) -> bool:
    """Whether a reply shows that its server is a replica.

    After a failover, old connections may still lead to the demoted server, while new ones to the
    same address reach the new primary.
    """
    return isinstance(error, redis_errors.ReadOnlyError | redis_errors.MasterDownError) or (
        isinstance(error, redis_errors.ResponseError) and "READONLY You can't write" in str(error)
    )


@contextmanager
def mapped_errors(server: str = "the ledger") -> Iterator[None]:
    """Raises errors of redis-py and of sockets as `mapped` returns them."""
    try:
        yield
    except (redis_errors.RedisError, redis_errors.RedisClusterException, OSError) as error:
        raised = mapped(error, server)
        if raised is error:
            raise
        raise raised from error
    except AttributeError as error:
        if not _is_closed_connection(error):
            raise
        raise mapped(redis_errors.ConnectionError("closed by another command"), server) from error


def _is_closed_connection(error: AttributeError) -> bool:
    """Whether redis-py failed because a connection was closed while it was in use.

    After an error, its asyncio client for clusters also closes connections of other commands.
    """
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return error.obj is None and frame.f_globals["__name__"].startswith("redis.")


def mapped(error: Exception, server: str = "the ledger") -> Exception:
    """`BackendUnavailable` for an outage or a refusal; returns any other error unchanged.

    Outages and refusals are connection errors, timeouts, and replies that mean "not now", "not
    permitted" or "unknown command". Other error replies mean a bug in a script or a command.
    `server` is the server's name in the message.
    """
    state = None if isinstance(error, BackendUnavailable) else _server_state(error)
    if state is None:
        return error
    unavailable = BackendUnavailable(f"{server} {state}", retry_after_s=RETRY_AFTER_S)
    unavailable.__cause__ = error
    return unavailable


def _server_state(error: Exception) -> str | None:
    """The state that keeps the server from running the command; None for any other error."""
    if is_demotion(error) and not isinstance(error, redis_errors.MasterDownError):
        return _NOT_NOW[redis_errors.ReadOnlyError]
    if is_forbidden(error):
        return f"does not permit its user {forbidden(error)}"
    # A pipeline prefixes the command to the server's reply, and wraps that reply in a tuple.
    first_word = str(error).rpartition("caused error: ")[2].lstrip("('").partition(" ")[0]
    for sign, state in _NOT_NOW.items():
        if sign == first_word or (isinstance(sign, type) and isinstance(error, sign)):
            return state
    if first_word == "unknown":
        return "does not know a command that Forebay needs; a Sentinel's URL is sentinel://…"
    return None if isinstance(error, redis_errors.ResponseError) else "does not answer"
