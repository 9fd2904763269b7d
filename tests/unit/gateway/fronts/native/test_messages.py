"""Messages in DATA frames of any size."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from forebay_gateway.fronts.native.head import RpcError
from forebay_gateway.fronts.native.messages import MessageReader
from tests.faults.raw_http2 import message


def read(reader: MessageReader, *frames: bytes) -> list[bytes]:
    for frame in frames:
        reader.feed(frame)
    found = []
    while reader:
        found.append(reader.pop()[0])
    return found


@given(
    payloads=st.lists(st.binary(max_size=40), max_size=8),
    cuts=st.lists(st.integers(min_value=1, max_value=30), max_size=60),
)
def test_messages_are_the_same_however_they_are_split(
    payloads: list[bytes], cuts: list[int]
) -> None:
    whole = b"".join(map(message, payloads))
    frames, at = [], 0
    for size in cuts:
        frames.append(whole[at : at + size])
        at += size
    reader = MessageReader(b"identity", 100)
    assert read(reader, *frames, whole[at:]) == payloads
    assert not reader.has_part


def test_sizes_are_those_on_the_wire() -> None:
    packed = gzip.compress(bytes(1000))
    reader = MessageReader(b"gzip", 2000)
    reader.feed(b"\1" + message(packed)[1:])
    assert reader.pop() == (bytes(1000), len(packed) + 5)


def test_a_message_that_nobody_reads_stays_compressed() -> None:
    reader = MessageReader(b"gzip", 10 << 20)
    packed = b"\1" + message(gzip.compress(bytes(1 << 20)))[1:]
    tracemalloc.start()
    for _ in range(8):
        reader.feed(packed)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1 << 20
    assert read(reader) == [bytes(1 << 20)] * 8


def test_a_part_is_known_as_such_and_so_is_its_size() -> None:
    reader = MessageReader(b"identity", 100)
    for byte in message(b"abc")[:5]:
        assert reader.message_bytes is None
        reader.feed(bytes((byte,)))
    assert reader.message_bytes == 8
    assert reader.has_part
    assert not reader


@pytest.mark.parametrize(
    ("encoding", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)]
)
def test_what_unpacks_to_more_than_the_limit_is_refused(encoding: bytes, pack: object) -> None:
    assert callable(pack)
    reader = MessageReader(encoding, 1_000)
    assert read(reader, b"\1" + message(pack(bytes(1_000)))[1:]) == [bytes(1_000)]
    with pytest.raises(RpcError) as raised:
        read(reader, b"\1" + message(pack(bytes(1_001)))[1:])
    assert raised.value.code is StatusCode.RESOURCE_EXHAUSTED


def test_a_length_over_the_limit_is_refused_before_the_message_is_here() -> None:
    with pytest.raises(RpcError) as raised:
        MessageReader(b"identity", 100).feed(b"\0\0\0\0\x65")
    assert raised.value.code is StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("encoding", "frame"),
    [
        (b"identity", b"\1" + message(b"abc")[1:]),
        (b"gzip", b"\2" + message(b"abc")[1:]),
        (b"gzip", b"\1" + message(b"abc")[1:]),
        (b"gzip", b"\1" + message(gzip.compress(b"abc", mtime=0)[:-1])[1:]),
        (b"deflate", b"\1" + message(gzip.compress(b"abc", mtime=0))[1:]),
        (b"gzip", b"\1" + message(b"")[1:]),
    ],
)
def test_what_is_not_of_its_encoding_is_refused(encoding: bytes, frame: bytes) -> None:
    with pytest.raises(RpcError) as raised:
        read(MessageReader(encoding, 100), frame)
    assert raised.value.code is StatusCode.INTERNAL
