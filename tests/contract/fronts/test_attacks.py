"""Attacks by HTTP/2: they cost a gateway little, and it serves all others meanwhile."""

from __future__ import annotations

import itertools
import logging
import socket
import time
from collections.abc import Iterator

import pytest
from hyperframe.frame import (
    DataFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from forebay_backends.aio.polling import poll_until
from forebay_gateway.fronts.native import lifetime, rpc, session
from forebay_gateway.fronts.native.front import NativeFront
from tests.contract.fronts.attacks.attack import (
    Attack,
    Outcome,
    headers_frame,
    on_each_stream,
    run_attack,
)
from tests.contract.fronts.attacks.holding import (
    UNREAD_BODIES,
    unread_responses,
    unread_socket,
)
from tests.contract.fronts.attacks.lists import BOUNDED, ENDED, WATCH
from tests.contract.fronts.attacks.resets import MALFORMED, REFUSED
from tests.contract.fronts.callers import FRAMES_A_CALL, call_at_once, other_caller
from tests.contract.fronts.site import MIB, Site, path, serving
from tests.faults.raw_http2 import PREFACE, RawConnection, message, request_headers
from tests.harness import eventually
from tests.process_costs import ProcessCosts, gateway_alone

HANG = path("HangAfter").encode()
ENHANCE_YOUR_CALM = 0xB
_8_MIB = b"%d" % (8 * MIB)
_MORE_THAN_SOCKETS_HOLD = 4
"""Responses of 8 MiB."""
_SOON_S = 10.0
"""For what takes a few milliseconds on an idle machine."""
_FLOOD_BYTES = 64 * MIB
"""The size of an attack that is not ended."""
_MOST_FLOOD_BYTES = 6 * MIB
"""How much of `_FLOOD_BYTES` may be sent before the connection ends.

Measured: 1.8 MB, plus what unread sockets hold.
"""
_MOST_MEMORY = 32 * MIB
"""For an attack that opens few streams, and holds no messages. Measured: 5 MB at most."""
_MOST_HELD_MEMORY = 128 * MIB
"""For 1,000 open streams or 64 MiB of requests. Measured: 79 MB at most."""
_MOST_S = 60.0
"""A busy machine handles few more streams a second than a connection may reset."""
_HONEST_CALLS = 300
_DEARER = 2
"""A frame of an attack may cost so many times the CPU of a frame of an ordinary call.

Measured: less than once.
"""
_FRAMES_OF_ANOTHER_CALL = 20
"""A call that comes alone costs as much as so many frames that come at once."""
VARIANTS = (*MALFORMED, *REFUSED)
_OWN_CPU_S = 0.1
"""For what a gateway does by itself."""


@pytest.fixture(scope="module")
def gateway() -> Iterator[tuple[ProcessCosts, str]]:
    """A gateway with the native front, without workers."""
    with gateway_alone(FOREBAY_FRONT="native") as found:
        yield found


def attacked(
    gateway: tuple[ProcessCosts, str], attack: Attack, most_memory: int, max_s: float
) -> Outcome:
    """Attacks while another caller is served, and checks the gateway's memory and CPU."""
    costs, address = gateway
    before_s = costs.cpu_s
    call_at_once(address, _HONEST_CALLS)
    honest_s = (costs.cpu_s - before_s) / (_HONEST_CALLS * FRAMES_A_CALL)
    before_s, before_bytes = costs.cpu_s, costs.rss_bytes
    with costs.sampled(), other_caller(address) as other:
        outcome = run_attack(address, attack, WATCH, _FLOOD_BYTES, max_s)
    assert costs.peak_rss_bytes - before_bytes < most_memory
    frames = outcome.sent_frames + other.calls * _FRAMES_OF_ANOTHER_CALL
    assert costs.cpu_s - before_s < _DEARER * honest_s * frames + _OWN_CPU_S
    return outcome


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(attack, id=attack.name, marks=[pytest.mark.variant] * (attack in VARIANTS))
        for attack in ENDED
    ],
)
def test_a_flood_ends_its_connection(gateway: tuple[ProcessCosts, str], attack: Attack) -> None:
    most_memory = _MOST_HELD_MEMORY if attack.opens_streams else _MOST_MEMORY
    outcome = attacked(gateway, attack, most_memory, _MOST_S)
    assert outcome.cut_off
    assert outcome.error_code != 0  # None where the GOAWAY was overtaken by the end
    assert outcome.sent_bytes < _MOST_FLOOD_BYTES


@pytest.mark.variant
@pytest.mark.parametrize("name", ["Nothing", "Refused", "Fail"])
def test_calls_that_are_answered_before_their_requests_end_are_no_attack(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The server resets each stream, but the call costs no more than any."""
    monkeypatch.setattr(session, "MAX_RESETS", 100)
    monkeypatch.setattr(session, "RESETS_PER_S", 0)

    def call(stream: int, block: bytes) -> bytes:
        return headers_frame(stream, block) + DataFrame(stream, message(b"x")).serialize()

    calls = Attack("calls without an end", on_each_stream(call))
    with serving("native") as site:
        to = path(name).encode()
        outcome = run_attack(site.address, calls, to, max_bytes=64 << 10, max_s=_MOST_S)
    assert not outcome.cut_off
    assert outcome.sent_frames > 2 * 2 * session.MAX_RESETS


@pytest.mark.variant
@pytest.mark.parametrize("attack", BOUNDED, ids=lambda attack: attack.name)
def test_a_caller_that_holds_on_to_what_it_can_costs_bounded_memory(
    gateway: tuple[ProcessCosts, str], attack: Attack
) -> None:
    attacked(gateway, attack, _MOST_HELD_MEMORY, max_s=3.0)


def test_a_caller_may_not_hold_unread_more_than_a_connection_may() -> None:
    """64 MiB, and what the sockets hold."""
    with serving("native", max_streams=2_000) as site:
        hang = path("Hang").encode()
        outcome = run_attack(site.address, UNREAD_BODIES, hang, max_bytes=200 * MIB, max_s=3.0)
    assert outcome.sent_bytes < 140 * MIB


def test_responses_that_nobody_reads_end_the_connection() -> None:
    """8 MiB each, and at most 256 MiB, although thousands of calls come at once."""
    with serving("native") as site:
        big = path("Big").encode()
        outcome = run_attack(site.address, unread_responses(_8_MIB), big, max_bytes=MIB)
    assert outcome.cut_off
    assert outcome.error_code in (None, ENHANCE_YOUR_CALM)
    assert site.written <= 33


def test_a_socket_that_nobody_reads_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    """The same limit, where not even a GOAWAY can be sent."""
    caplog.set_level(logging.INFO)
    calls = unread_socket(_8_MIB).chunks(path("Big").encode())
    with serving("native") as site, RawConnection.greeted(site.address) as unread:
        unread.send(b"".join(itertools.islice(calls, 200)))
        eventually(lambda: "too_many_unread_responses" in caplog.text, "it is ended", _SOON_S)
    assert site.written <= 33


@pytest.mark.parametrize(
    "end",
    ["the gateway closes", pytest.param("the caller closes", marks=pytest.mark.variant), "stalled"],
)
def test_a_connection_that_nobody_reads_is_given_up(
    monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """It counts as one, and its responses are in memory, until then."""
    stalls = end == "stalled"
    monkeypatch.setattr(lifetime, "_LAST_BYTES_S", 3_600 if stalls else 0.5)
    for module in (rpc, session):
        monkeypatch.setattr(module, "STALL_S", 1 if stalls else 3_600)
    attack = unread_socket(_8_MIB).chunks(path("Big").encode())
    with (
        serving("native", max_connections=1) as site,
        RawConnection.greeted(site.address) as unread,
    ):
        unread.send(b"".join(itertools.islice(attack, 2 + _MORE_THAN_SOCKETS_HOLD)))
        eventually(lambda: site.written == _MORE_THAN_SOCKETS_HOLD, "the calls were served")
        match end:
            case "the gateway closes":
                unread.send(PingFrame(0, bytes(8)).serialize() * 10)
            case "the caller closes":
                unread.socket.shutdown(socket.SHUT_WR)
        eventually(lambda: _is_served(site), "another caller is served", _SOON_S)


def test_a_stalled_stream_is_reset_and_the_busy_connection_goes_on() -> None:
    """Its writing is paused just when the stream has stalled, but only for a moment."""
    with serving("native") as site, RawConnection.greeted(site.address) as caller:
        caller.send(SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 0}).serialize())
        assert caller.ping()
        for stream, name in (1, "Echo"), (3, "Flood"):
            headers = request_headers(path(name).encode())
            caller.send(b"".join(caller.request(headers, message(b"x"), stream)))
        for stream in (0, 3):
            caller.send(WindowUpdateFrame(stream, 1 << 30).serialize())
        site.run(lambda: _ticks_while_paused(site))
        assert isinstance(caller.next_frame(1), HeadersFrame)
        assert isinstance(caller.next_frame(1), RstStreamFrame)
        assert isinstance(caller.next_frame(3), DataFrame)
        assert caller.ping()


async def _ticks_while_paused(site: Site) -> None:
    """Waits until writing is paused, then ticks at once as often as a stall takes."""
    assert isinstance(site.front, NativeFront)
    (one,) = site.front._open

    def paused() -> bool:
        _, most_bytes = one.transport.get_write_buffer_limits()
        return one.transport.get_write_buffer_size() > most_bytes

    await poll_until(paused, _SOON_S)
    assert paused()
    for _ in range(rpc.STALL_S + 1):
        one.tick(one.loop.time())


def _is_served(site: Site) -> bool:
    with RawConnection.greeted(site.address) as other:
        return other.ping()


# Callers that send too little


def test_a_connection_without_a_greeting_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "_GREETING_S", 0.5)
    with serving("native") as site:
        for part in (b"", PREFACE[:10], PREFACE):
            silent = RawConnection(site.address)
            silent.send(part)
            silent.socket.settimeout(_SOON_S)
            while silent.socket.recv(65_536):
                pass
            silent.socket.close()


def test_a_frame_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "_FRAME_S", 0.5)
    with serving("native") as site, RawConnection.greeted(site.address) as caller:
        assert caller.ping()
        first, *_ = caller.request(request_headers(HANG))
        began = time.monotonic()
        for byte in first[:-1] * 100:
            if not caller.send(bytes((byte,))) or time.monotonic() - began > _SOON_S:
                break
            time.sleep(0.1)
        assert time.monotonic() - began < _SOON_S
