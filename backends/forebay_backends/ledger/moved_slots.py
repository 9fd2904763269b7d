"""Slots of a Redis Cluster that are moved to another node while calls go on.

`redis-cli --cluster reshard` moves a slot key by key, and meanwhile each of its two nodes has a
part of the keys. A script must not run then: it would find records without their indexes. So each
script declares a second key, which never exists. While a slot is being moved, both nodes refuse a
command with several keys if some of them are missing (ASK, TRYAGAIN):
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#multi-keys-operations

After the move, the old node answers MOVED. This module follows redirections itself, because
redis-py's asyncio client sends ASKING on any connection, closes connections in use after five
MOVED, and in a pipeline does not look for the nodes again after CLUSTERDOWN.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis import exceptions as redis_errors

_RETRY_DELAY_S = 0.1
_NOT_RUN = (
    redis_errors.AskError,
    redis_errors.MovedError,
    redis_errors.TryAgainError,
    redis_errors.ClusterDownError,  # also the reply of a node that has left the cluster
)


def never_a_key(partition: str) -> str:
    """The second key that the partition's scripts declare; it never exists."""
    return f"{partition}:never"


async def sent_after_moves(
    send: Callable[[Sequence[int]], Awaitable[list[Any]]],
    count: int,
    follow: Callable[[Sequence[Any]], Awaitable[None]],
    patience_s: float,
) -> list[Any]:
    """The replies to commands 0 to `count` - 1, which `send` sends.

    A command that did not run because its slot moves or has moved is sent again, after `follow`
    was called with the replies. If it still has not run after `patience_s`, its reply is an error.
    """
    replies = await send(range(count))
    give_up_at = time.monotonic() + patience_s
    while (left := _not_run(replies)) and time.monotonic() < give_up_at:
        await follow(replies)
        await asyncio.sleep(_RETRY_DELAY_S)
        for index, reply in zip(left, await send(left), strict=True):
            replies[index] = reply
    return [
        redis_errors.TryAgainError(str(reply))
        if isinstance(reply, redis_errors.MovedError)
        else reply
        for reply in replies
    ]


def _not_run(replies: Sequence[Any]) -> list[int]:
    return [index for index, reply in enumerate(replies) if isinstance(reply, _NOT_RUN)]


async def follow(cluster: Any, replies: Sequence[Any]) -> None:
    """Brings redis-py's map of the slots up to date."""
    nodes = cluster.nodes_manager
    moved = [reply for reply in replies if isinstance(reply, redis_errors.MovedError)]
    are_known = all(nodes.get_node(host=to.host, port=to.port) is not None for to in moved)
    if not are_known or any(isinstance(one, redis_errors.ClusterDownError) for one in replies):
        # This learns all nodes, in case the nodes that the URL names are gone one day.
        await nodes.initialize()
    for reply in moved:
        await nodes.move_slot(reply)
