"""One call over as many attempts as it takes. Pure: what happened in, what to do out.

A call that has an id outlives the connection it was made over: calling again
with the id attaches to it, and `forebay-resume-from` skips the lasting items that
were seen. So every durable call gets an id here, and may be attempted again
whatever its method does. An ephemeral call has none; it is attempted again where the
method may be run again, or where the failure says that nothing was run.

What is worth another attempt: failures that carry no reason at all (gRPC's own, of
a connection; a proxy's), and Forebay's with a RetryInfo. A stored outcome has none,
and stays what it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import Message
from google.rpc import code_pb2

from forebay.deadline import Deadline
from forebay.errors import CallUnknown, ForebayError
from forebay.metadata import CALL_ID, ON_DISCONNECT, RESUME_FROM, Pairs
from forebay.resume.targets import Rotation
from forebay.routes import Method

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0
"""Without a RetryInfo, waits are random up to FIRST_WAIT_S; that bound doubles whenever all
targets have failed once more, up to LONGEST_WAIT_S.
"""

RETRY_FOR_S = 60.0
"""A call without a deadline is given up after so long a time of failures only."""
PATIENCE_UNANSWERED_S = 10.0
"""The same, where no gateway has taken the call yet: an address may be wrong."""

_CALM_S = 10.0
"""An answered attempt that lasts so long, items or not, ends a time of failures."""

_LOST = frozenset({code_pb2.UNAVAILABLE, code_pb2.CANCELLED})
_WAIT_SPREAD = 0.2


@dataclass(frozen=True)
class Attempt:
    """How to call now: where, and with what.

    Where it does not send requests, a stream of them is left empty: the gateways have
    them all.
    """

    target: int
    timeout_s: float | None
    metadata: tuple[tuple[str, str | bytes], ...]
    sends_requests: bool


class ResumePolicy:
    """What became of a call so far, and what that makes of the next failure.

    `method` is None where nothing is known of it: it is attempted once, without an id.
    """

    def __init__(
        self,
        method: Method | None,
        metadata: Pairs,
        deadline: Deadline,
        rotation: Rotation,
        *,
        random: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        given = dict(metadata)
        self._method = method
        self._deadline = deadline
        self._rotation = rotation
        self._random = random
        self._metadata = tuple(pair for pair in metadata if pair[0] not in (CALL_ID, RESUME_FROM))
        self._call_id = given.get(CALL_ID)
        self._id_is_ours = (
            CALL_ID not in given
            and method is not None
            and not method.is_plain
            and not method.route.ephemeral
        )
        if self._id_is_ours:
            self._call_id = new_id()
        self._resume_from = given.get(RESUME_FROM)
        self._items = 0
        self._is_known = False
        self._target: int | None = None
        self._begun_at = self._calm_at = deadline.clock()
        self._failures = 0

    @property
    def call_id(self) -> str | None:
        """The call's id; None where it has none, or none that a gateway takes."""
        return self._call_id if isinstance(self._call_id, str) else None

    @property
    def is_stopped_by_leaving(self) -> bool:
        """Whether the call's policy is to end when its caller has left for good."""
        if self._method is None or self.call_id is None:
            return False
        wish = dict(self._metadata).get(ON_DISCONNECT)
        return wish != "detach" and (wish == "cancel" or not self._method.route.detach)

    @property
    def target(self) -> int | None:
        """The target of the latest attempt."""
        return self._target

    @property
    def sends_requests(self) -> bool:
        """Whether an attempt is to send the requests; else the gateways have them all."""
        method = self._method
        streams = method is not None and method.client_streaming and not method.route.live
        return not (streams and self._is_known)

    @property
    def timeout_s(self) -> float | None:
        """Seconds until the caller's deadline."""
        return self._deadline.timeout_s()

    def attempt(self) -> Attempt:
        """The next attempt, which begins now."""
        self._target = self._rotation.next(avoid=self._target if self._failures else None)
        self._begun_at = self._deadline.clock()
        ours = [(CALL_ID, self._call_id), (RESUME_FROM, self._from())]
        return Attempt(
            self._target,
            self._deadline.timeout_s(),
            (*self._metadata, *((key, value) for key, value in ours if value is not None)),
            self.sends_requests,
        )

    def on_response(self, response: object) -> None:
        """A response message has come; transient ones are not counted."""
        if self._method is not None and not _is_transient(self._method, response):
            self._items += 1
        self._answer()
        self._failures = 0

    def on_failure(self, error: ForebayError, *, answered: bool = False) -> float | None:
        """How many seconds to wait before the next attempt; None where there is to be none.

        `answered` where a gateway had taken the call: its initial metadata had come.
        """
        now = self._deadline.clock()
        if answered:
            self._answer()
        if self._failures == 0 or (answered and now - self._begun_at >= _CALM_S):
            self._failures, self._calm_at = 0, now
        if error.code in _LOST and (error.retry_may_help or _lacks_reason(error)):
            self._rotation.failed(self._target or 0)
        if self._was_empty(error):
            self._call_id, self._id_is_ours = None, False
            return 0.0
        if not self._is_worth_another(error):
            return None
        wait_s = self._wait_s(error)
        self._failures += 1
        return wait_s if self._is_in_time(now + wait_s) else None

    def _was_empty(self, error: ForebayError) -> bool:
        """Whether the request stream is: under an id it attaches, and starts nothing."""
        return isinstance(error, CallUnknown) and self._id_is_ours and not self._is_known

    def _answer(self) -> None:
        self._is_known = True
        if self._target is not None:
            self._rotation.answered(self._target)

    def _from(self) -> str | bytes | None:
        """The lasting items seen by the caller: before this call, and in it."""
        given = self._resume_from
        if self._items == 0:
            return given
        return str(self._items + int(given or 0))

    def _is_worth_another(self, error: ForebayError) -> bool:
        if self._method is None:
            return False
        helps = error.retry_may_help or _lacks_reason(error)
        nothing_ran = error.code == code_pb2.RESOURCE_EXHAUSTED
        if self._items and self._method.is_plain:
            return False  # it would begin anew, and nothing skips what was seen
        has_id = self._call_id is not None and not self._method.is_plain
        return helps and (has_id or self._method.may_run_again or nothing_ran)

    def _wait_s(self, error: ForebayError) -> float:
        if error.retry_after_s is not None:
            return error.retry_after_s * (1 + _WAIT_SPREAD * self._random())
        rounds = min(self._failures // len(self._rotation), 16)
        return self._random() * min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**rounds)

    def _is_in_time(self, at: float) -> bool:
        if not math.isinf(self._deadline.at):
            return at < self._deadline.at
        patience_s = RETRY_FOR_S if self._is_known else PATIENCE_UNANSWERED_S
        return at - self._calm_at < patience_s


def _lacks_reason(error: ForebayError) -> bool:
    """Whether it has no reason, and so is of gRPC itself, or of a proxy."""
    return not error.domain and (error.code in _LOST or error.retry_after_s is not None)


def _is_transient(method: Method, response: object) -> bool:
    if not method.route.transient:
        return False
    if isinstance(response, bytes):  # a stub without a deserializer
        response = method.response_class.FromString(response)
    return isinstance(response, Message) and method.is_transient(response)
