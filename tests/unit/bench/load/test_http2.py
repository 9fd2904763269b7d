"""The calls of the benchmark's load: their frames, and the counting of responses."""

from __future__ import annotations

import struct

import pytest
from hpack import Decoder, Encoder
from hyperframe.frame import Frame, HeadersFrame, PingFrame, SettingsFrame, WindowUpdateFrame

from bench.load.http2 import Call, ConnectionLost, Session, frame, message

HEADERS, DATA, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 1, 0, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS = 1, 4
PREFACE_BYTES = 24
REQUEST, ANSWER = b"request", b"answer"


def frames_of(sent: bytes) -> list[Frame]:
    """The frames that a session sent."""
    frames = []
    while sent:
        parsed, length = Frame.parse_frame_header(memoryview(sent[:9]))
        parsed.parse_body(memoryview(sent[9 : 9 + length]))
        frames.append(parsed)
        sent = sent[9 + length :]
    return frames


def begun(calls: int, *, own_ids: bool = False) -> tuple[Session, list[Frame]]:
    """A session with that many calls in flight, begun at 10 s; the frames of its requests."""
    session = Session(Call("/a.B/C", REQUEST, ANSWER, own_ids=own_ids))
    greeting = len(session.outgoing)
    session.begin(calls, now=10.0)
    frames = frames_of(bytes(session.outgoing[greeting:]))
    session.outgoing.clear()
    return session, frames


def answered(stream: int, status: str = "0", body: bytes = ANSWER) -> bytes:
    """A complete response on a stream, encoded without a header table, as the session asks for."""
    encoder = Encoder()
    encoder.header_table_size = 0
    first = encoder.encode([(":status", "200")])
    trailers = encoder.encode([("grpc-status", status), ("grpc-message", "why")], huffman=False)
    return (
        frame(HEADERS, END_HEADERS, stream, first)
        + frame(DATA, 0, stream, message(body))
        + frame(HEADERS, END_HEADERS | END_STREAM, stream, trailers)
    )


def test_a_session_sends_the_preface_and_turns_the_header_table_off() -> None:
    greeting = bytes(Session(Call("/a.B/C", REQUEST, ANSWER)).outgoing)
    assert greeting.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    settings, window = frames_of(greeting[PREFACE_BYTES:])
    assert isinstance(settings, SettingsFrame)
    assert settings.settings[SettingsFrame.HEADER_TABLE_SIZE] == 0
    assert isinstance(window, WindowUpdateFrame)
    assert window.window_increment == 2**31 - 1 - 65_535


def test_each_call_is_headers_and_a_message_on_a_stream_of_its_own() -> None:
    _, frames = begun(3)
    decoder = Decoder()
    assert [frame.stream_id for frame in frames] == [1, 1, 3, 3, 5, 5]
    for headers, data in zip(frames[::2], frames[1::2], strict=True):
        assert dict(decoder.decode(headers.data))[":path"] == "/a.B/C"
        assert data.data == message(REQUEST)
        assert "END_STREAM" in data.flags


def test_calls_with_ids_of_their_own_have_different_ids() -> None:
    _, frames = begun(3, own_ids=True)
    decoder = Decoder()
    ids = {
        dict(decoder.decode(frame.data))["forebay-call-id"]
        for frame in frames
        if isinstance(frame, HeadersFrame)
    }
    assert len(ids) == 3


def test_a_header_has_the_values_that_it_is_given_from_call_to_call() -> None:
    call = Call("/a.B/C", REQUEST, ANSWER)
    values = [b"short", b"of 500 bytes".ljust(500, b"."), b"third"]
    call.own_headers.append((b"authorization", iter(values)))
    sessions = Session(call), Session(call)
    for session in sessions:
        session.outgoing.clear()
    sessions[0].begin(1, now=10.0)
    sessions[1].begin(2, now=10.0)
    sent = []
    for session in sessions:
        decoder = Decoder()
        for found in frames_of(bytes(session.outgoing)):
            if isinstance(found, HeadersFrame):
                headers = dict(decoder.decode(found.data, raw=True))
                sent.append(headers[b"authorization"])
    assert sent == values


def test_a_response_counts_however_its_bytes_are_split() -> None:
    for cut in range(len(answered(1))):
        session, _ = begun(1)
        answer = answered(1)
        times = session.receive(answer[:cut], now=10.5) + session.receive(answer[cut:], now=11.0)
        assert times == [1.0]
        assert session.in_flight == 0
        assert not session.failures


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (answered(1, status="14"), "grpc-status 14: why"),
        (answered(1, body=b"another"), "another answer"),
        (frame(RST_STREAM, 0, 1, struct.pack(">I", 7)), "reset 7"),
    ],
)
def test_a_failed_call_counts_as_a_failure(answer: bytes, failure: str) -> None:
    session, _ = begun(1)
    assert session.receive(answer, now=11.0) == []
    assert session.failures == {failure: 1}
    assert session.in_flight == 0


def test_an_ok_without_a_message_is_not_a_response() -> None:
    session, _ = begun(1)
    whole = answered(1)
    head = 9 + whole[2]
    data = 9 + whole[head + 2]
    assert session.receive(whole[:head] + whole[head + data :], now=11.0) == []
    assert session.failures == {"another answer": 1}


def test_a_reset_after_the_answer_is_no_failure() -> None:
    session, _ = begun(1)
    reset = frame(RST_STREAM, 0, 1, struct.pack(">I", 0))
    assert session.receive(answered(1) + reset, now=11.0) == [1.0]
    assert not session.failures


def test_calls_beyond_the_servers_window_wait_for_credit() -> None:
    fit = 65_535 // len(message(REQUEST))
    session, frames = begun(fit + 2)
    assert len(frames) == 2 * fit
    assert session.in_flight == fit + 2
    session.receive(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 20)), now=11.0)
    session.begin(0, now=11.0)
    assert len(frames_of(bytes(session.outgoing))) == 4


def test_pings_and_settings_are_acknowledged() -> None:
    session, _ = begun(1)
    session.receive(frame(PING, 0, 0, b"12345678") + frame(SETTINGS, 0, 0, b""), now=11.0)
    ping, settings = frames_of(bytes(session.outgoing))
    assert isinstance(ping, PingFrame)
    assert (ping.opaque_data, ping.flags) == (b"12345678", {"ACK"})
    assert isinstance(settings, SettingsFrame)
    assert settings.flags == {"ACK"}


def test_a_goaway_ends_the_load() -> None:
    session, _ = begun(1)
    with pytest.raises(ConnectionLost, match="GOAWAY"):
        session.receive(frame(GOAWAY, 0, 0, bytes(8)), now=11.0)
