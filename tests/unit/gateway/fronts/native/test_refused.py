"""Statuses are put before the resets of refused streams, and nothing else changes."""

from __future__ import annotations

from base64 import b64decode

from google.rpc import status_pb2
from hpack import Decoder, Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, RstStreamFrame

from forebay.errors import InvalidRequest
from forebay.errors.status import STATUS_DETAILS_KEY, from_status
from forebay_gateway.fronts.native.refused import with_statuses

DATA = DataFrame(5, b"\0\0\4\3\0\0\0\0\1\0\0\0\1").serialize()  # looks like a reset
RESET = RstStreamFrame(1, 1).serialize()
OTHER_RESET = RstStreamFrame(3, 1).serialize()


def frames(sent: bytes) -> list[Frame]:
    found = []
    while sent:
        frame, length = Frame.parse_frame_header(memoryview(sent[:9]))
        frame.parse_body(memoryview(sent[9 : 9 + length]))
        found.append(frame)
        sent = sent[9 + length :]
    return found


def test_a_refused_stream_gets_a_status_and_a_reset_without_an_error() -> None:
    data, headers, reset, other = frames(with_statuses(DATA + RESET + OTHER_RESET, {1}))
    assert data.serialize() == DATA
    assert other.serialize() == OTHER_RESET
    assert isinstance(headers, HeadersFrame)
    assert (headers.stream_id, headers.flags) == (1, {"END_HEADERS", "END_STREAM"})
    fields = dict(Decoder().decode(headers.data, raw=True))
    assert fields[b":status"] == b"200"
    assert fields[b"content-type"] == b"application/grpc"
    assert fields[b"grpc-status"] == b"3"
    assert b"blank" in fields[b"grpc-message"]
    details = fields[STATUS_DETAILS_KEY.encode()]
    status = status_pb2.Status.FromString(b64decode(details + b"=" * (-len(details) % 4)))
    assert isinstance(from_status(3, "", status), InvalidRequest)
    assert isinstance(reset, RstStreamFrame)
    assert (reset.stream_id, reset.error_code) == (1, 0)


def test_it_leaves_the_state_of_header_compression_as_it_is() -> None:
    encoder, decoder = Encoder(), Decoder()
    one = HeadersFrame(5, encoder.encode([(b"a", b"1"), (b"b", b"2")])).serialize()
    two = HeadersFrame(7, encoder.encode([(b"b", b"2"), (b"a", b"1")])).serialize()
    first, refused, _, last = frames(with_statuses(one + RESET + two, {1}))
    assert isinstance(first, HeadersFrame)
    assert isinstance(refused, HeadersFrame)
    assert isinstance(last, HeadersFrame)
    seen = [decoder.decode(frame.data, raw=True) for frame in (first, refused, last)]
    assert seen[0] == [(b"a", b"1"), (b"b", b"2")]
    assert seen[2] == [(b"b", b"2"), (b"a", b"1")]


def test_a_frame_that_is_cut_off_stays_as_it_is() -> None:
    for cut in range(1, len(DATA)):
        assert with_statuses(OTHER_RESET + DATA[:-cut], {1}) == OTHER_RESET + DATA[:-cut]
