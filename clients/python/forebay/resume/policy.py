"""Decides whether, when, where and with what metadata a call is retried. Pure.

Example: a durable stream breaks after 3 items. Its next attempt has the same `forebay-call-id`
and `forebay-resume-from: 3`, so it attaches to the running call and gets the fourth item first.

- Durable calls: each gets an id, unless the caller gave one, and can be retried whatever its
  method does.
- Calls that may share a run with identical ones, see `docs/caching.md`: `forebay-cache-control:
  share` lets the gateway replace the channel's own id by that of the run.
- Ephemeral and plain calls: they have no id. They are retried if the method may run again, or if
  the failure shows that nothing has run.

Transport errors (see `transport_errors`) and failures with Forebay's RetryInfo are retried. Stored
outcomes have no RetryInfo; a retry would return the same outcome. A call whose token expired while
it ran is resumed with a fresh one, if there is a function that makes tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import Message
from google.rpc import code_pb2

from forebay.deadline import Deadline
from forebay.errors import CallUnknown, ForebayError, Unauthenticated
from forebay.metadata import (
    CACHE_CONTROL,
    CALL_ID,
    ON_DISCONNECT,
    RESUME_FROM,
    Pairs,
)
from forebay.resume.targets import Rotation
from forebay.resume.transport_errors import Retry, is_transport_error, retry_of
from forebay.routes import Method

INITIAL_BACKOFF_S = 0.1
MAX_BACKOFF_S = 5.0
"""Without a RetryInfo, the delay is random between 0 and INITIAL_BACKOFF_S. The upper bound doubles
each time that all targets have failed once more, up to MAX_BACKOFF_S.
"""

RETRY_FOR_S = 60.0
"""A call without a deadline fails after this time without a response."""
RETRY_UNACCEPTED_FOR_S = 10.0
"""The same, while no gateway has accepted the call: the address may be wrong."""

_STABLE_S = 10.0
"""After an accepted attempt that lasted this long, with or without items, RETRY_FOR_S restarts."""

_SHARE = "share"
_GATEWAY_IS_DOWN = frozenset({code_pb2.UNAVAILABLE, code_pb2.CANCELLED})
_RETRY_INFO_JITTER = 0.2


@dataclass(frozen=True)
class Attempt:
    """The target and the metadata of one attempt.

    With `sends_requests` false, a request stream is left empty: the gateways have all requests.
    """

    target: int
    timeout_s: float | None
    metadata: tuple[tuple[str, str | bytes], ...]
    sends_requests: bool


class ResumePolicy:
    """The history of one call, and what follows from its next failure.

    A call whose `method` is None (it has no route) is attempted once, without an id. The caller
    may give the id in the metadata or, for a method that returns an operation, as `request_id`.
    With `renews_token`, each attempt has a token of its own.
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
        request_id: str = "",
        renews_token: bool = False,
    ) -> None:
        given = dict(metadata)
        self._method = method
        self._deadline = deadline
        self._rotation = rotation
        self._random = random
        self._renews_token = renews_token
        ours = (CALL_ID, RESUME_FROM, CACHE_CONTROL)
        self._metadata = tuple(pair for pair in metadata if pair[0] not in ours)
        self._cache_control = given.get(CACHE_CONTROL)
        self._call_id = given.get(CALL_ID)
        self._id_is_ours = (
            CALL_ID not in given
            and method is not None
            and not method.is_plain
            and not method.route.ephemeral
        )
        if self._id_is_ours:
            self._call_id = request_id or new_id()
        self._id_is_given = CALL_ID in given or request_id != ""
        self._answered_id: str | None = None
        """The id in a gateway's answer to the latest attempt that had one."""
        self._is_refused = False
        self._run_id: str | None = None
        """The id of the run that the call shares; None if that is its own, or not known."""
        self._resume_from = given.get(RESUME_FROM)
        self._items = 0
        self._is_accepted = False
        self._target: int | None = None
        self._is_between_attempts = False
        self._attempt_began_at = self._failing_since = deadline.clock()
        self._failures = 0

    @property
    def call_id(self) -> str | None:
        """The call's id; None without one, or if it is not text (gateways reject that)."""
        return self._call_id if isinstance(self._call_id, str) else None

    @property
    def known_id(self) -> str | None:
        """The id by which the call can be found when it has failed or was left.

        None if it has none, or if a gateway refused it; one that the caller gave remains.
        """
        is_known = self._id_is_given or not self._is_refused
        return self._answered_id or (self.call_id if is_known else None)

    @property
    def ends_on_disconnect(self) -> bool:
        """Whether the gateway cancels the call when its caller has disconnected for good."""
        if self._method is None or self.call_id is None or self._run_id is not None:
            return False
        chosen = dict(self._metadata).get(ON_DISCONNECT)
        return chosen != "detach" and (chosen == "cancel" or not self._method.route.detach)

    @property
    def sends_requests(self) -> bool:
        """Whether an attempt must send the requests; if not, the gateways have them all."""
        method = self._method
        streams = method is not None and method.client_streaming and not method.route.live
        return not (streams and self._is_accepted)

    @property
    def timeout_s(self) -> float | None:
        """Seconds until the caller's deadline."""
        return self._deadline.timeout_s()

    def cancel_target(self) -> int | None:
        """The target of a request that cancels the call; None if there was no attempt.

        Between two attempts, it is the next of the rotation: the latest attempt's may be lost.
        """
        if self._target is None or not self._is_between_attempts:
            return self._target
        return self._rotation.next(avoid=self._target)

    def attempt(self) -> Attempt:
        """The next attempt, which starts now."""
        self._is_between_attempts = False
        self._target = self._rotation.next(avoid=self._target if self._failures else None)
        self._attempt_began_at = self._deadline.clock()
        resumes = self._items > 0 or not self.sends_requests
        ours = [
            (CALL_ID, self._run_id if resumes and self._run_id else self._call_id),
            (RESUME_FROM, self._items_seen()),
            (CACHE_CONTROL, self._cache_directives(resumes=resumes)),
        ]
        return Attempt(
            self._target,
            self._deadline.timeout_s(),
            (*self._metadata, *((key, value) for key, value in ours if value is not None)),
            self.sends_requests,
        )

    def on_response(self, response: object) -> None:
        """Counts a response, unless it is transient."""
        if self._method is not None and not _is_transient(self._method, response):
            self._items += 1
        self._on_accepted()
        self._failures = 0

    def on_failure(
        self, error: ForebayError, *, accepted: bool = False, call_id: object = None
    ) -> float | None:
        """Seconds to wait before the next attempt; None if the call has failed.

        `accepted` if a gateway had accepted the call: it had sent initial metadata, with `call_id`.
        """
        self._is_between_attempts = True
        if self._id_is_ours and isinstance(call_id, str) and call_id != self._call_id:
            self._run_id = call_id
        if isinstance(call_id, str):
            self._answered_id = call_id
        now = self._deadline.clock()
        if accepted:
            self._on_accepted()
        self._is_refused = not (self._is_accepted or is_transport_error(error))
        if self._failures == 0 or (accepted and now - self._attempt_began_at >= _STABLE_S):
            self._failures, self._failing_since = 0, now
        is_down = error.retry_may_help and error.code in _GATEWAY_IS_DOWN
        if is_down or is_transport_error(error):
            self._rotation.failed(self._target or 0)
        if self._was_empty_stream(error):
            self._call_id, self._id_is_ours = None, False
            return 0.0
        token_expired = accepted and self._renews_token and isinstance(error, Unauthenticated)
        if not (self._is_retryable(error) or (token_expired and self._has_id)):
            return None
        delay_s = self._delay_s(error)
        self._failures += 1
        return delay_s if self._is_in_time(now + delay_s) else None

    def _was_empty_stream(self, error: ForebayError) -> bool:
        """Whether the caller sent no request: with an id that only attaches and starts no call."""
        return isinstance(error, CallUnknown) and self._id_is_ours and not self._is_accepted

    def _on_accepted(self) -> None:
        self._is_accepted = True
        if self._target is not None:
            self._rotation.answered(self._target)

    def _cache_directives(self, *, resumes: bool) -> str | bytes | None:
        """`share` for an id of the channel's own, beside the caller's directives."""
        method = self._method
        if resumes or not self._id_is_ours or method is None or not method.may_run_again:
            return self._cache_control
        given = self._cache_control
        return f"{given}, {_SHARE}" if isinstance(given, str) else _SHARE

    def _items_seen(self) -> str | bytes | None:
        """The number of items that the caller has: those from before this call, and its own."""
        given = self._resume_from
        if self._items == 0:
            return given
        return str(self._items + int(given or 0))

    def _is_retryable(self, error: ForebayError) -> bool:
        if self._method is None:
            return False
        if self._items and self._method.is_plain:
            return False  # a retry would send the items again that the caller has seen
        if self._has_id:
            return error.retry_may_help or is_transport_error(error)
        nothing_ran = error.retry_may_help and error.code == code_pb2.RESOURCE_EXHAUSTED
        helps = error.retry_may_help or retry_of(error) is Retry.ANY
        return nothing_ran or (helps and self._method.may_run_again)

    @property
    def _has_id(self) -> bool:
        """Whether another attempt attaches to the same call."""
        method = self._method
        return self._call_id is not None and method is not None and not method.is_plain

    def _delay_s(self, error: ForebayError) -> float:
        if error.retry_after_s is not None:
            return error.retry_after_s * (1 + _RETRY_INFO_JITTER * self._random())
        rounds = min(self._failures // len(self._rotation), 16)
        return self._random() * min(MAX_BACKOFF_S, INITIAL_BACKOFF_S * 2.0**rounds)

    def _is_in_time(self, at: float) -> bool:
        if not math.isinf(self._deadline.at):
            return at < self._deadline.at
        retry_for_s = RETRY_FOR_S if self._is_accepted else RETRY_UNACCEPTED_FOR_S
        return at - self._failing_since < retry_for_s


def _is_transient(method: Method, response: object) -> bool:
    if not method.route.transient:
        return False
    if isinstance(response, bytes):  # a stub without a deserializer
        response = method.response_class.FromString(response)
    return isinstance(response, Message) and method.is_transient(response)
