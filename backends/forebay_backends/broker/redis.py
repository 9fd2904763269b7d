"""Redis or Valkey as a broker, in the format of kombu's Redis transport.

A queue is a few lists, one for each level of priority, and needs no declaration. The names of the
lists have kombu's default separator.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice

from forebay_backends.broker.task_messages import Message, queue_lists, redis_push
from forebay_backends.ledger.client import Ledger
from forebay_backends.signing.keyring import NO_KEYS, Keyring

# The client retries a command whose connection broke, and a message that must be sent at most
# once must not be pushed by both tries.
_PUSH_ONCE = """
if redis.call('SET', KEYS[2], '', 'NX', 'EX', 60) then redis.call('LPUSH', KEYS[1], ARGV[1]) end
"""


class RedisBroker:
    """A `Broker`; `close` closes `server`, unless it is the ledger's."""

    def __init__(
        self, server: Ledger, *, is_ledger: bool = False, keyring: Keyring = NO_KEYS
    ) -> None:
        self.keyring = keyring
        self._server = server
        self.is_ledger = is_ledger

    async def send(self, message: Message) -> bool:
        push = redis_push(message, self.keyring)
        if message.at_most_once:
            name = self._server.name
            keys = name(push.queue_list), name(sent_key(message))
            await self._server.within_timeout(
                self._server.redis.eval(_PUSH_ONCE, 2, *keys, push.message)
            )
        else:
            await self._server.push(push)
        return True

    async def depth(self, queue: str) -> int:
        (depth,) = await self.depths([queue])
        return depth

    async def depths(self, queues: Sequence[str]) -> list[int]:
        lists = [queue_lists(queue) for queue in queues]
        lengths = iter(await self._server.queue_depths(list(chain(*lists))))
        return [sum(islice(lengths, len(of_queue))) for of_queue in lists]

    async def ping(self) -> None:
        await self._server.ping()

    async def close(self) -> None:
        if not self.is_ledger:
            await self._server.close()


def sent_key(message: Message) -> str:
    """The key that marks a message as sent, if it must be sent at most once."""
    return f"forebay:sent:{message.id}"
