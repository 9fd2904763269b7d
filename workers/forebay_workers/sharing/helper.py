"""Helping with another worker's call: a plain task, which an invitation on its queue starts.

An invitation holds names only, and promises nothing: it may come when the call is over, or
never. Whoever follows it makes its own operands from the call's requests, computes parts until
none is left to take, and leaves at the first word that the attempt is over. It makes room for calls
that wait on its queue: between parts it leaves, and is invited again behind them. It holds no
claim on the call; of what it was doing when it died, another takes the part.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from celery import Celery
from kombu.exceptions import KombuError

from forebay.errors import BackendUnavailable
from forebay.metadata import CALL_ID, to_pairs
from forebay.routes import Method
from forebay.v1 import call_pb2
from forebay_backends.ledger.keys import PARTITIONS, CallKey
from forebay_backends.ledger.operations.calls import Begun, Refused
from forebay_backends.ledger.operations.inspection import backlog
from forebay_backends.ledger.operations.parts import Piece, Taken, deliver, join, take
from forebay_backends.urls import HIGHEST_PRIORITY, Backends
from forebay_workers.handler.context import CallContext
from forebay_workers.handler.flow_control import FlowControl
from forebay_workers.handler.invoke import Interrupted, Stopped
from forebay_workers.handler.requests import stored_requests
from forebay_workers.runtime.process import Runtime, runtime
from forebay_workers.sharing.owner import Parts, Sharing, parts_of
from forebay_workers.sharing.part_loop import compute_parts

TASK = "forebay.help"
INVITED_FOR_S = 300
"""How long an invitation is of use: a worker that is busy until then finds the work far on."""
_LOOK_EVERY_S = 0.1
_IDLE_FOR_S = 10.0  # longer, and it is the call's reader who is slow

_log = logging.getLogger(__name__)


def with_others(app: Celery, method: Method, handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler, for a call on record: what it goes through in parts, others compute, too."""
    if parts_of(handler) is None or method.route.live:
        return handler

    def run(argument: Any, context: CallContext) -> Any:
        mine, queue = runtime(), method.route.queue
        context.sharing = Sharing(
            mine.ledger,
            mine.worker,
            queue,
            context.flow.item_limit_bytes,
            partial(invite, app, mine.settings.backends(), queue, context.call, context.attempt),
        )
        return handler(argument, context)

    return run


def invite(
    app: Celery, backends: Backends, queue: str, call: CallKey, attempt: int, count: int
) -> None:
    """Sends so many invitations, as the least urgent of tasks.

    Where the broker is away, the owner goes on without.
    """
    priority = HIGHEST_PRIORITY if backends.broker_is_redis else 0  # kombu's 9 is popped last there
    try:
        for _ in range(count):
            app.send_task(
                TASK,
                kwargs={"call": str(call), "attempt": attempt},
                queue=queue,
                priority=priority,
                expires=INVITED_FOR_S,
                retry=False,
            )
    except (KombuError, OSError) as error:
        _log.warning("call %s: nobody is invited to help: %s", call, error)


def help_with(
    app: Celery,
    mine: Runtime,
    shared: Mapping[str, tuple[Method, Parts]],
    call: CallKey,
    attempt: int,
) -> None:
    """Computes parts of the attempt until none is left; `shared` are the methods, by name."""
    try:
        begun = mine.ledger.run(join(call, attempt))
        if isinstance(begun, Refused):
            _log.info("call %s needs no help: %s", call, begun.why)
            return
        method, parts = shared[begun.method]
        guest = _Guest(mine, method.route.queue, call, attempt)
        count = guest.work(method, parts, begun)
    except Stopped:
        _log.info("call %s needs no more help", call)
    except (BackendUnavailable, Interrupted):
        _log.warning("call %s is helped no more: the ledger does not answer", call)
    else:
        _log.info("call %s was helped with %d parts", call, count)
        if guest.makes_room:
            invite(app, mine.settings.backends(), method.route.queue, call, attempt, 1)


class _Guest:
    """One worker's help with one attempt."""

    def __init__(self, runtime: Runtime, queue: str, call: CallKey, attempt: int) -> None:
        self.makes_room = False
        """Whether it left because calls wait on its queue."""
        self._runtime = runtime
        self._queue = queue
        self._call = call
        self._attempt = attempt
        self._idle_since: float | None = None

    def work(self, method: Method, parts: Parts, begun: Begun) -> int:
        """How many parts it computed; raises Stopped where the attempt is over."""
        stored = stored_requests(self._runtime.ledger, self._call, begun)
        requests: Any = map(method.request_class.FromString, stored)
        argument = requests if method.client_streaming else next(requests)
        compute = parts(argument, self._context(begun))
        return compute_parts(self._take, compute, self._deliver, self._wait)

    def _context(self, begun: Begun) -> CallContext:
        metadata = to_pairs(call_pb2.Metadata.FromString(begun.metadata))
        return CallContext(
            self._call,
            self._attempt,
            metadata=((CALL_ID, self._call.id), *metadata),
            timeout_s=begun.timeout_s,
            flow=FlowControl(begun.window_bytes, begun.item_limit_bytes),
            send_initial=lambda metadata: None,  # that is for the owner to do
        )

    def _take(self, patience_s: float) -> Taken:
        if self.makes_room:
            return Taken(None, more=False)
        operation = take(self._call, self._attempt, self._runtime.worker, patience_s)
        taken = self._runtime.ledger.run(operation)
        if isinstance(taken, Refused):
            raise Stopped
        return taken

    def _deliver(self, part: int, pieces: Sequence[Piece]) -> None:
        operations = deliver(self._call, self._attempt, part, pieces)
        if any(self._runtime.ledger.run_all(operations)):
            raise Stopped
        self._idle_since = None
        waiting = self._runtime.ledger.run_all(
            [backlog(number, [self._queue]) for number in range(PARTITIONS)]
        )
        self.makes_room = any(found.calls for (found,) in waiting)

    def _wait(self, more: bool) -> bool:
        """Whether to look again; the owner will have read a part soon."""
        self._idle_since = self._idle_since or time.monotonic()
        if not more or time.monotonic() - self._idle_since > _IDLE_FOR_S:
            return False
        time.sleep(_LOOK_EVERY_S)
        return True
