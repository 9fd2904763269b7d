"""Metadata in gRPC's form and in the stored form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.metadata import from_pairs, to_pairs, trace_parts
from forebay.v1 import call_pb2

_NAMES = st.text("abcz019-_.", min_size=1, max_size=8).filter(lambda key: key[-4:] != "-bin")
_TEXT = st.tuples(_NAMES, st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
_BINARY = st.tuples(_NAMES.map(lambda key: f"{key}-bin"), st.binary())


@given(st.lists(_TEXT | _BINARY))
def test_stored_metadata_comes_back_in_order_with_its_types(
    pairs: list[tuple[str, str | bytes]],
) -> None:
    stored = from_pairs(pairs).SerializeToString()
    assert to_pairs(call_pb2.Metadata.FromString(stored)) == pairs


def test_a_key_may_occur_more_than_once() -> None:
    pairs = [("k", "1"), ("other", "2"), ("k", "3")]
    assert to_pairs(from_pairs(pairs)) == pairs


def test_text_given_as_bytes_comes_back_as_text() -> None:
    assert to_pairs(from_pairs([("k", b"v")])) == [("k", "v")]


@pytest.mark.parametrize(
    ("traceparent", "trace"),
    [
        (f"00-{'a' * 32}-{'b' * 16}-01", "a" * 32),
        (f"01-{'a' * 32}-{'b' * 16}-01-more", "a" * 32),
        (f"00-{'a' * 32}-{'b' * 16}-01-more", None),
        (f"ff-{'a' * 32}-{'b' * 16}-01", None),
        (f"00-{'A' * 32}-{'b' * 16}-01", None),
        (f"00-{'a' * 32}", None),
        ("", None),
    ],
)
def test_a_trace_context_has_the_form_of_its_version(traceparent: str, trace: str | None) -> None:
    parts = trace_parts(traceparent)
    assert (parts and parts[0]) == trace
