"""Shortening of statuses and metadata that exceed the limit of gRPC clients."""

from __future__ import annotations

import re

import pytest
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details_pb2
from google.rpc import status_pb2
from hypothesis import example, given
from hypothesis import strategies as st

from forebay.errors.status import STATUS_DETAILS_KEY
from forebay.metadata import CALL_ID, OMITTED, Pairs
from forebay_gateway.rpc.metadata_size import METADATA_BYTES, fit_pairs, fit_status

MARK = re.compile(r"… \(([0-9,]+) characters more\)\Z")
INFO = details_pb2.ErrorInfo(reason="QUEUE_FULL", domain="forebay")

texts = st.builds(lambda part, times: part * times, st.text(max_size=30), st.integers(0, 3000))
sizes = st.integers(0, 12_000)
pairs = st.lists(
    st.one_of(
        st.tuples(st.just("x-text"), sizes.map(lambda size: "v" * size)),
        st.tuples(st.just("x-bytes-bin"), sizes.map(bytes)),
    ),
    max_size=5,
)
details = st.lists(
    st.one_of(
        st.builds(lambda text: details_pb2.LocalizedMessage(message=text), texts),
        st.builds(lambda text: details_pb2.ErrorInfo(reason="R", metadata={"k": text}), texts),
        st.just(details_pb2.RetryInfo()),
    ),
    max_size=5,
)


def packed(message: Message) -> any_pb2.Any:
    detail = any_pb2.Any()
    detail.Pack(message)
    return detail


def status(text: str, *messages: Message) -> status_pb2.Status:
    return status_pb2.Status(code=5, message=text, details=map(packed, messages))


def size_on_the_wire(message: str, trailing: Pairs) -> int:
    """Counted independently of the code under test: every byte as gRPC encodes it."""
    escaped = "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}"
        for byte in message.encode()
    )
    size = len("grpc-message") + len(escaped) + 32
    for key, value in trailing:
        length = (len(value) + 2) // 3 * 4 if key.endswith("-bin") else len(value)
        size += len(key) + length + 32
    return size


def sent_status(trailing: Pairs) -> status_pb2.Status:
    value = dict(trailing)[STATUS_DETAILS_KEY]
    assert isinstance(value, bytes)
    return status_pb2.Status.FromString(value)


@given(texts, details, pairs)
@example("☃" * 2000, [INFO], [])
@example("%" * 1_000_000, [INFO], [("x-text", "v" * 7000)])
def test_everything_sent_fits_and_message_and_code_match_the_details(
    text: str, messages: list[Message], given_pairs: list[tuple[str, str | bytes]]
) -> None:
    message, trailing = fit_status(status(text, *messages), ((CALL_ID, "c"), *given_pairs))
    sent = sent_status(trailing)
    assert size_on_the_wire(message, trailing) <= METADATA_BYTES
    assert (sent.code, sent.message) == (5, message)
    assert dict(trailing)[CALL_ID] == "c"
    mark = MARK.search(message) if message != text else None
    if mark is not None:
        kept = message[: mark.start()]
        assert text.startswith(kept)
        assert len(kept) + int(mark[1].replace(",", "")) == len(text)
    else:
        assert message == text


@given(texts, details, pairs)
def test_fitting_metadata_is_unchanged_and_omitted_entries_are_counted(
    text: str, messages: list[Message], given_pairs: list[tuple[str, str | bytes]]
) -> None:
    whole = status(text, *messages)
    message, trailing = fit_status(whole, given_pairs)
    everything = (*given_pairs, (STATUS_DETAILS_KEY, whole.SerializeToString()))
    # The code under test reckons with a few bytes more for the status than it takes.
    if size_on_the_wire(text, everything) <= METADATA_BYTES - 64:
        assert (message, trailing) == (text, everything)
    kept = [pair for pair in trailing if pair[0] not in (OMITTED, STATUS_DETAILS_KEY)]
    left_out = len(given_pairs) - len(kept) + len(messages) - len(sent_status(trailing).details)
    assert dict(trailing).get(OMITTED, "0") == str(left_out)


@given(pairs)
def test_metadata_of_a_successful_call_keeps_the_first_pairs_that_fit(
    given_pairs: list[tuple[str, str | bytes]],
) -> None:
    fitted = fit_pairs([(CALL_ID, "c"), *given_pairs])
    assert size_on_the_wire("", fitted) - len("grpc-message") - 32 <= METADATA_BYTES
    kept = [pair for pair in fitted[1:] if pair[0] != OMITTED]
    assert fitted[0] == (CALL_ID, "c")
    assert int(dict(fitted).get(OMITTED, "0")) == len(given_pairs) - len(kept)
    rest = iter(given_pairs)
    assert all(pair in rest for pair in kept)


def test_a_long_text_is_shortened_before_details_and_metadata() -> None:
    retry = details_pb2.RetryInfo()
    retry.retry_delay.seconds = 3
    message, trailing = fit_status(
        status("é" * 100_000, INFO, details_pb2.DebugInfo(detail="d" * 9000), retry),
        [("x-first", "v" * 3000), ("x-second", "v" * 9000), ("x-third", "short")],
    )
    assert [detail.type_url.rpartition(".")[2] for detail in sent_status(trailing).details] == [
        "ErrorInfo",
        "RetryInfo",
    ]
    assert [key for key, _ in trailing] == ["x-first", "x-third", OMITTED, STATUS_DETAILS_KEY]
    assert dict(trailing)[OMITTED] == "2"
    assert re.match(r"é{100,}… \(99,\d\d\d characters more\)\Z", message)


def test_the_error_info_stays_where_everything_is_too_large() -> None:
    info = details_pb2.ErrorInfo(reason="R" * 300, domain="tests", metadata={"key": "v" * 100_000})
    message, trailing = fit_status(
        status("m" * 100_000, details_pb2.DebugInfo(detail="d" * 9000), info), []
    )
    (detail,) = sent_status(trailing).details
    sent = details_pb2.ErrorInfo()
    assert detail.Unpack(sent)
    assert (sent.reason, sent.domain) == ("R" * 256, "tests")
    assert message.startswith("m" * 1000)


@pytest.mark.parametrize("text", ["", "short", "☃" * 100])
def test_a_short_message_is_not_shortened(text: str) -> None:
    message, _ = fit_status(status(text, INFO), [("x-large", "v" * 20_000)])
    assert message == text
