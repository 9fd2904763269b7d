"""Reading call options from request metadata."""

from __future__ import annotations

import pytest

from forebay.errors import InvalidRequest
from forebay.metadata import to_pairs
from forebay_gateway.rpc.options import CallOptions, read_call_options
from tests.unit.samples import route, violated

ID = ("forebay-call-id", "order-7")


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
        ],
        route(caller_chooses_on_disconnect=True, max_priority=9),
    )
    assert options == CallOptions("order-7", 12, True, 7, options.forwarded_metadata)


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
        ("forebay-attached", "new"),
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
