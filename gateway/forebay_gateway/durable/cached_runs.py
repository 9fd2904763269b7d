"""Runs that identical calls share, found in the ledger by cache key.

One ledger operation joins a run or, if there is none, begins one. So only one of many identical
calls begins a run, even at several gateways. The operation also registers this gateway as a
watcher, so the run continues if its other callers disconnect meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from forebay.routes import Method
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.cache import Joined, join
from forebay_backends.ledger.operations.calls import ExistingCall, NewCall
from forebay_backends.settings import Settings
from forebay_backends.signing.keyring import SignatureError
from forebay_gateway.durable.accept import Acceptor
from forebay_gateway.rpc.cache_key import CacheKey
from forebay_gateway.rpc.incoming import IncomingCall
from forebay_gateway.rpc.policy import linger_s


@dataclass(eq=False)
class _Asking:
    """RPCs that ask the ledger about one cache key."""

    count: int = 0
    is_over: asyncio.Event = field(default_factory=asyncio.Event)


class CachedRuns:
    """Joins or begins shared runs. One instance per gateway, whose channel is `channel`."""

    def __init__(
        self, ledger: Ledger, acceptor: Acceptor, settings: Settings, channel: str
    ) -> None:
        self._ledger = ledger
        self._acceptor = acceptor
        self._settings = settings
        self._channel = channel
        self._asking: dict[str, _Asking] = {}

    async def accept(
        self, call: CallKey, method: Method, new: NewCall, key: CacheKey, *, held: bool
    ) -> Joined | ExistingCall | None:
        """Joins a run, or accepts the call as `Acceptor.accept` does. Raises BackendUnavailable."""
        found = await self._acceptor.accept(call, method, new, held=held, cache_key=key)
        if isinstance(found, Joined) and not self._is_genuine(found, key):
            renewed = replace(key, renews=True)
            found = await self._acceptor.accept(call, method, new, held=held, cache_key=renewed)
        return found

    async def join(self, incoming: IncomingCall) -> CallKey | None:
        """Joins a run; None if there is none, or the call wants a new one.

        Raises BackendUnavailable.
        """
        key, options = incoming.cache_key, incoming.options
        if key is None or key.renews:
            return None
        linger = linger_s(incoming.method, options, self._settings)
        found = await self._ledger.run(
            join(key.digest, key.ttl_s, self._channel, linger_s=linger, detach=options.detach)
        )
        return None if found is None or not self._is_genuine(found, key) else found.call

    @contextmanager
    def asking(self, digest: str) -> Iterator[None]:
        """Within the block, an RPC asks for a run with this cache key and moves its watch to it."""
        asking = self._asking.setdefault(digest, _Asking())
        asking.count += 1
        try:
            yield
        finally:
            asking.count -= 1
            if not asking.count:
                del self._asking[digest]
                asking.is_over.set()

    async def nobody_asks(self, digest: str) -> None:
        """Returns when no RPC of this gateway is about to open a watch on a run with this key.

        The ledger counts each gateway as one watcher. So before a gateway reports that a caller
        has disconnected, it must know whether another caller has joined.
        """
        while digest in self._asking:
            await self._asking[digest].is_over.wait()

    def _is_genuine(self, found: Joined, key: CacheKey) -> bool:
        seals = self._ledger.seals
        try:
            seals.check_cache_entry(found.call, key.digest, found.proof)
        except SignatureError as error:
            seals.keyring.refused(error)
            return False
        return True
