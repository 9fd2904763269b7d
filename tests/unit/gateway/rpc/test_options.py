"""Reading call options from request metadata."""

from __future__ import annotations

import pytest

from forebay.errors import InvalidRequest
from forebay.metadata import to_pairs
from forebay.routes import read_methods
from forebay.v1 import call_pb2
from forebay_backends.ledger.operations.calls import Start
from forebay_gateway.rpc.options import CallOptions, read_call_options, with_request_id
from tests.reports.v1 import reports_pb2
from tests.unit.samples import METHODS, route, violated

ID = ("forebay-call-id", "order-7")


REPORTS = {
    method.name.rpartition(".")[2]: method
    for method in read_methods([reports_pb2.DESCRIPTOR.services_by_name["ReportService"]])
}


def _refused(*pairs: tuple[str, str | bytes], **changes: object) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        read_call_options(pairs, route(**changes))
    return violated(caught.value)


def test_without_options_the_routes_defaults_apply() -> None:
    options = read_call_options([], route(detach=True, priority=3, max_priority=5))
    assert options == CallOptions(None, 0, True, 3, options.forwarded_metadata)
    assert to_pairs(options.forwarded_metadata) == []


def test_all_call_options_are_read() -> None:
    options = read_call_options(
        [
            ID,
            ("forebay-resume-from", "12"),
            ("forebay-on-disconnect", "detach"),
            ("forebay-priority", "7"),
            ("forebay-cache-control", "share,no-cache"),
        ],
        route(caller_chooses_on_disconnect=True, max_priority=9),
    )
    assert options == CallOptions(
        "order-7", 12, True, 7, options.forwarded_metadata, no_cache=True, share=True
    )


def test_cache_directives_are_read_one_by_one() -> None:
    directives = {}
    for value in ("no-cache", "share", "no-cache, share"):
        options = read_call_options([("forebay-cache-control", value)], route())
        directives[value] = (options.no_cache, options.share)
    assert directives == {
        "no-cache": (True, False),
        "share": (False, True),
        "no-cache, share": (True, True),
    }


def test_only_the_routes_keys_and_the_trace_context_are_forwarded_in_order() -> None:
    pairs: list[tuple[str, str | bytes]] = [
        ("x-tenant", "a"),
        ("user-agent", "grpc"),
        ("traceparent", "00-0-0-01"),
        ("x-blob-bin", b"\xff"),
        ("authorization", "Bearer s3cret"),
        ("tracestate", "k=v"),
        ("x-tenant", "b"),
    ]
    options = read_call_options(pairs, route(metadata=("x-tenant", "x-blob-bin")))
    kept = {"x-tenant", "x-blob-bin", "traceparent", "tracestate"}
    assert to_pairs(options.forwarded_metadata) == [pair for pair in pairs if pair[0] in kept]


@pytest.mark.parametrize("keys", [("x-tenant",), ("x-tenant", "traceparent")])
def test_a_gateway_that_traces_does_not_forward_the_callers_trace_context(
    keys: tuple[str, ...],
) -> None:
    pairs = [("x-tenant", "a"), ("traceparent", "00-0-0-01"), ("tracestate", "k=v")]
    options = read_call_options(pairs, route(metadata=keys), forwards_trace=False)
    assert to_pairs(options.forwarded_metadata) == [("x-tenant", "a")]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("forebay-call-id", ""),
        ("forebay-call-id", "a b"),
        ("forebay-call-id", "a/b"),
        ("forebay-call-id", "ü"),
        ("forebay-call-id", "x" * 129),
        ("forebay-call-id", b"\xff"),
        ("forebay-resume-from", "-1"),
        ("forebay-resume-from", "1.0"),
        ("forebay-resume-from", ""),
        ("forebay-resume-from", "\u0663"),
        ("forebay-resume-from", "1" * 16),
        ("forebay-on-disconnect", "leave"),
        ("forebay-on-disconnect", ""),
        ("forebay-priority", "10"),
        ("forebay-priority", "-1"),
        ("forebay-priority", "high"),
        ("forebay-priority", "\u0663"),
        ("forebay-start-after", "soon"),
        ("forebay-start-after", "31d"),
        ("forebay-start-at", "tomorrow"),
        ("forebay-start-at", "2099-01-01T00:00:00Z"),
        ("forebay-attached", "new"),
        ("forebay-cache", "new"),
        ("forebay-cache-control", ""),
        ("forebay-cache-control", "no-store"),
        ("forebay-cache-control", "no-cache,"),
        ("forebay-cache-control", "NO-CACHE"),
        ("forebay-no-such-key", "1"),
    ],
)
def test_an_invalid_option_is_refused_with_its_key(key: str, value: str | bytes) -> None:
    # With a valid id, so that this key is the only problem.
    others = [] if key == "forebay-call-id" else [ID]
    changes = {"caller_chooses_on_disconnect": True, "max_priority": 9}
    assert _refused((key, value), *others, **changes) == [key]


def test_a_key_that_is_given_twice_is_refused() -> None:
    assert _refused(ID, ID) == ["forebay-call-id"]


def test_a_call_starts_at_once_unless_its_caller_says_when() -> None:
    assert read_call_options([ID], route()).start is None
    past = ("forebay-start-at", "2020-01-01T00:00:00Z")
    assert read_call_options([past], route()).start is None
    later = read_call_options([("forebay-start-after", "10m")], route())
    assert later.start == Start(600.0, is_relative=True)
    assert _refused(past, ("forebay-start-after", "1m")) == ["forebay-start-at"]


def test_resuming_requires_a_call_id() -> None:
    assert _refused(("forebay-resume-from", "1")) == ["forebay-resume-from"]
    assert read_call_options([("forebay-resume-from", "0")], route()).resume_from == 0


@pytest.mark.parametrize("call_id", ["a", "x" * 128, "A.z_0:9-"])
def test_an_id_of_the_allowed_characters_is_accepted(call_id: str) -> None:
    assert read_call_options([("forebay-call-id", call_id)], route()).call_id == call_id


def test_a_caller_may_choose_on_disconnect_only_where_the_route_permits() -> None:
    key = "forebay-on-disconnect"
    assert _refused((key, "detach"), detach=False) == [key]
    assert _refused((key, "cancel"), detach=True) == [key]
    permitted = route(detach=True, caller_chooses_on_disconnect=True)
    assert read_call_options([(key, "cancel")], permitted).detach is False


@pytest.mark.parametrize(("value", "detach"), [("detach", True), ("cancel", False)])
def test_a_caller_may_always_choose_the_routes_own_on_disconnect(value: str, detach: bool) -> None:
    assert (
        read_call_options([("forebay-on-disconnect", value)], route(detach=detach)).detach is detach
    )


def test_a_priority_may_be_lowered_and_raised_up_to_the_cap() -> None:
    capped = route(priority=3, max_priority=5)
    for value in (0, 3, 5):
        assert read_call_options([("forebay-priority", str(value))], capped).priority == value
    assert _refused(("forebay-priority", "6"), priority=3, max_priority=5) == ["forebay-priority"]


def _identified(request_id: str, call_id: str | None = None, method: str = "Render") -> str | None:
    options = CallOptions(call_id, 0, True, 0, call_pb2.Metadata())
    request = REPORTS[method].request_class(request_id=request_id)
    return with_request_id(options, REPORTS[method], request).call_id


def test_the_request_id_of_an_operation_is_the_id_of_its_call() -> None:
    assert _identified("report-7") == "report-7"
    assert _identified("report-7", "report-7") == "report-7"
    assert _identified("", "report-7") == "report-7"
    assert _identified("") is None
    uuid = "7D0EA3E0-5B2C-4E0F-9A57-2F1D6C1C3B10"
    assert _identified(uuid, method="Archive") == uuid.lower()


@pytest.mark.parametrize(
    ("request_id", "call_id", "method", "problem"),
    [
        ("no id", None, "Render", "request_id is 'no id'; expected 1 to 128 of"),
        ("x" * 129, None, "Render", "expected 1 to 128 of"),
        ("report-7", None, "Archive", "request_id is 'report-7'; expected a UUID of version 4"),
        ("report-7", "report-8", "Render", "but forebay-call-id is 'report-8'"),
    ],
)
def test_a_bad_request_id_is_refused_with_its_field(
    request_id: str, call_id: str | None, method: str, problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem) as caught:
        _identified(request_id, call_id, method)
    assert violated(caught.value) == ["request_id"]
    assert len(caught.value.message) < 400


def test_other_methods_have_no_request_id() -> None:
    options = CallOptions(None, 0, False, 0, call_pb2.Metadata())
    add = METHODS["Add"]
    assert with_request_id(options, add, add.request_class()) is options
