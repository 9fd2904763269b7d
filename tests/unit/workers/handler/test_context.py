"""The context of a handler: a complete `grpc.ServicerContext`."""

from __future__ import annotations

import threading
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, status_pb2

from forebay.metadata import from_pairs, to_pairs
from forebay.v1 import call_pb2
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.attempts import Flow
from forebay_workers.handler.context import CallContext
from forebay_workers.handler.interrupted import Aborted
from tests.pages import DOCS, blocks
from tests.unit.samples import context


class _Status(grpc.Status):
    """A status with details, as `grpc_status.rpc_status.to_status` makes it."""

    def __init__(
        self, code: grpc.StatusCode, details: str, *trailing: tuple[str, str | bytes]
    ) -> None:
        self.code = code
        self.details = details
        self.trailing_metadata = trailing or None  # type: ignore[assignment] # as grpc has it


def _surface() -> list[str]:
    return [name for name in dir(grpc.ServicerContext) if not name.startswith("_")]


@pytest.mark.parametrize("name", _surface())
def test_every_member_of_grpcs_context_is_implemented(name: str) -> None:
    # Some are not abstract in grpc: there they raise NotImplementedError.
    assert getattr(CallContext, name) is not getattr(grpc.ServicerContext, name)


def test_the_surface_is_a_servicer_contexts() -> None:
    assert {"abort", "is_active", "trailing_metadata", "code", "peer"} <= set(_surface())
    assert isinstance(context(), grpc.ServicerContext)


def test_a_handler_that_sets_no_status_ends_with_ok() -> None:
    subject = context()
    assert (subject.code(), subject.details(), subject.trailing_metadata()) == (None, None, None)
    assert subject.outcome == call_pb2.Outcome()


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.value[0]])
def test_abort_raises_and_sets_the_status(code: grpc.StatusCode) -> None:
    aborting = context()
    with pytest.raises(Aborted):
        aborting.abort(code, "because")
    assert (aborting.code(), aborting.details()) == (code, b"because")
    assert aborting.outcome == call_pb2.Outcome(code=code.value[0], message="because")


def test_aborting_with_ok_gives_unknown_as_in_grpc() -> None:
    aborting = context()
    with pytest.raises(Aborted):
        aborting.abort(grpc.StatusCode.OK, "fine")
    assert (aborting.code(), aborting.details()) == (grpc.StatusCode.UNKNOWN, b"")


def test_abort_with_status_separates_details_from_metadata() -> None:
    status = status_pb2.Status(code=code_pb2.NOT_FOUND, message="gone").SerializeToString()
    aborting = context()
    with pytest.raises(Aborted):
        aborting.abort_with_status(
            _Status(
                grpc.StatusCode.NOT_FOUND,
                "gone",
                ("grpc-status-details-bin", status),
                ("x-shard", "3"),
            )
        )
    assert aborting.outcome == call_pb2.Outcome(
        code=code_pb2.NOT_FOUND,
        message="gone",
        details=status,
        trailing_metadata=from_pairs([("x-shard", "3")]),
    )


def test_abort_with_a_status_without_metadata_sets_code_and_message() -> None:
    aborting = context()
    with pytest.raises(Aborted):
        aborting.abort_with_status(_Status(grpc.StatusCode.DATA_LOSS, "lost"))
    assert (aborting.code(), aborting.details()) == (grpc.StatusCode.DATA_LOSS, b"lost")
    assert aborting.outcome.details == b""


def test_code_and_details_may_be_set_and_read() -> None:
    subject = context()
    subject.set_code(grpc.StatusCode.NOT_FOUND)
    subject.set_details("no such order")
    assert (subject.code(), subject.details()) == (grpc.StatusCode.NOT_FOUND, b"no such order")


def test_the_last_trailing_metadata_counts() -> None:
    subject = context()
    subject.set_trailing_metadata((("a", "1"),))
    subject.set_trailing_metadata((("b", "2"), ("c-bin", b"\xff")))
    assert subject.trailing_metadata() is not None
    assert list(subject.trailing_metadata()) == [("b", "2"), ("c-bin", b"\xff")]
    assert to_pairs(subject.outcome.trailing_metadata) == [("b", "2"), ("c-bin", b"\xff")]


def test_initial_metadata_is_sent_at_once_and_only_once() -> None:
    sent: list[bytes] = []
    sending = context(send_initial=sent.append)
    sending.send_initial_metadata((("a", "1"),))
    assert [to_pairs(call_pb2.Metadata.FromString(one)) for one in sent] == [[("a", "1")]]
    with pytest.raises(ValueError, match="already sent"):
        sending.send_initial_metadata((("a", "2"),))
    assert len(sent) == 1


def test_initial_metadata_is_too_late_after_a_response() -> None:
    sending = context()
    sending.response_started()
    with pytest.raises(ValueError, match="already sent"):
        sending.send_initial_metadata((("a", "1"),))


def test_metadata_has_keys_and_values_by_name_as_in_grpc() -> None:
    (entry,) = context(metadata=[("x-wish", "tea")]).invocation_metadata()
    assert (entry.key, entry.value) == ("x-wish", "tea")
    assert dict([entry]) == {"x-wish": "tea"}


def test_a_handler_that_waits_for_requests_is_woken_by_a_notice_and_by_every_end() -> None:
    for wake in (
        CallContext.requests_changed,
        CallContext.finish,
        lambda subject: subject.stop("CANCELLED"),
    ):
        waiting = context()
        waiter = threading.Thread(target=waiting.wait_for_requests, args=(0, 60.0))
        waiter.start()
        wake(waiting)
        waiter.join(10.0)
        assert not waiter.is_alive()


def test_a_handler_reads_the_metadata_that_was_passed_on() -> None:
    pairs: list[tuple[str, str | bytes]] = [("forebay-call-id", "c"), ("x-bin", b"\x00")]
    assert list(context(metadata=pairs).invocation_metadata()) == pairs


def test_a_handler_sees_who_called() -> None:
    caller = call_pb2.Caller(subject="jane", roles=["caller", "editor"], issuer="keys")
    subject: grpc.ServicerContext = context(call=CallKey("id", "acme"), caller=caller)
    assert subject.auth_context() == {
        "tenant": (b"acme",),
        "subject": (b"jane",),
        "roles": (b"caller", b"editor"),
        "issuer": (b"keys",),
    }
    key = subject.peer_identity_key()
    assert key is not None
    assert subject.peer_identities() == subject.auth_context()[key]


def test_a_handler_can_refuse_a_role_as_the_page_says() -> None:
    (text,) = (one.text for one in blocks(DOCS / "identity.md") if one.title == "render.py")
    module: dict[str, Any] = {}
    exec(text, module)  # noqa: S102 - our own page
    call, caller = CallKey("id", "acme"), call_pb2.Caller(subject="jane", roles=["editor"])
    module["render"](None, context(call=call, caller=caller))
    with pytest.raises(Aborted):
        module["render"](None, context(call=call, caller=call_pb2.Caller(subject="jane")))


def test_the_peer_is_the_call_and_has_no_identity_without_authentication() -> None:
    subject: grpc.ServicerContext = context()
    assert subject.peer_identities() is None
    assert subject.peer_identity_key() is None
    assert subject.peer() == "forebay:/call-1"
    assert subject.auth_context() == {}


def test_compression_is_accepted_and_changes_nothing() -> None:
    subject = context()
    subject.set_compression(grpc.Compression.Gzip)
    subject.disable_next_message_compression()
    assert subject.outcome == call_pb2.Outcome()


def test_the_time_that_remains_is_bounded_by_the_deadline() -> None:
    remaining = context(timeout_s=60.0).time_remaining()
    assert 0 < remaining <= 60.0
    assert context().time_remaining() > 100 * 365 * 86400.0


def test_a_call_is_active_until_its_deadline() -> None:
    assert context().is_active()
    late = context(timeout_s=0.0)
    assert not late.is_active()
    assert late.time_remaining() == 0.0


def test_a_call_is_active_until_it_is_stopped_and_the_first_reason_stays() -> None:
    stopping = context()
    stopping.stop("EXPIRED")
    stopping.stop("CANCELLED")
    assert not stopping.is_active()
    assert stopping.stopped == "EXPIRED"


def test_cancel_ends_the_call_as_cancelled() -> None:
    cancelling = context()
    cancelling.cancel()
    assert not cancelling.is_active()
    assert cancelling.cancelled
    assert cancelling.stopped == "CANCELLED"


@pytest.mark.parametrize("how", ["stop", "cancel", "finish"])
def test_callbacks_are_called_once_in_order_however_the_call_ends(how: str) -> None:
    called: list[int] = []
    ending = context()
    assert ending.add_callback(lambda: called.append(1))
    assert ending.add_callback(lambda: called.append(2))
    {"stop": lambda: ending.stop("EXPIRED"), "cancel": ending.cancel, "finish": ending.finish}[
        how
    ]()
    ending.finish()
    assert called == [1, 2]
    assert not ending.add_callback(lambda: called.append(3))
    assert called == [1, 2]


def test_a_callback_can_read_the_state_of_the_ended_call() -> None:
    active: list[bool] = []
    ending = context()
    ending.add_callback(lambda: active.append(ending.is_active()))
    ending.stop("CANCELLED")
    assert active == [False]


def test_credit_and_the_ledgers_flow_state_reach_flow_control() -> None:
    flowing = context()
    flowing.flow.sent((1 << 20) + 1)
    flowing.on_flow(Flow(read_count=0, watchers=1))
    assert flowing.flow.blocked
    flowing.flow.sent(1)
    flowing.on_credit(2)
    assert flowing.flow.trimmable() == (1, (1 << 20) + 1)


@pytest.mark.parametrize("error", [RuntimeError("oh"), SystemExit(1)], ids=repr)
def test_the_next_callback_runs_after_one_that_raises(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    subject, called = context(), []

    def fails() -> None:
        raise error

    subject.add_callback(fails)
    subject.add_callback(lambda: called.append("second"))
    subject.stop("CANCELLED")
    assert called == ["second"]
    assert "a callback of its handler failed" in caplog.text


@pytest.mark.parametrize("pair", [("x-note", "☃"), ("X-Upper", "x"), ("x-note", "a\nb")])
def test_metadata_that_grpc_can_not_carry_raises_in_the_handler(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        context().set_trailing_metadata([pair])


@pytest.mark.parametrize("name", ["set_trailing_metadata", "send_initial_metadata"])
@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        (5, TypeError),
        (iter([("a", "1")]), TypeError),
        ([("a", 1)], TypeError),
        ([(1, "a")], TypeError),
        ([("a-bin", "text")], TypeError),
        ([("a",)], ValueError),
        ([("a", b"\xff")], ValueError),
        ([(b"\xff", "1")], ValueError),
    ],
)
def test_metadata_of_other_types_raises_and_keeps_the_earlier_value(
    name: str, metadata: object, error: type[Exception]
) -> None:
    subject = context()
    subject.set_trailing_metadata([("x-before", "1")])
    with pytest.raises(error):
        getattr(subject, name)(metadata)
    assert subject.trailing_metadata() == [("x-before", "1")]


@pytest.mark.parametrize("code", [5, 0, "NOT_FOUND"])
def test_a_code_that_is_no_status_code_is_unknown_to_the_caller(code: object) -> None:
    subject = context()
    subject.set_code(code)  # type: ignore[arg-type]
    assert (subject.code(), subject.outcome.code) == (code, code_pb2.UNKNOWN)


def test_a_context_is_not_active_after_its_handler_has_returned() -> None:
    returned = context()
    returned.finish()
    assert not returned.is_active()
    with pytest.raises(ValueError, match="already sent"):
        returned.send_initial_metadata(())
