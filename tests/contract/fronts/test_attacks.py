"""Attacks by HTTP/2: the native front ends the connection soon, and serves all others meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from forebay_gateway.fronts.native import lifetime
from tests.contract.fronts import attacks
from tests.contract.fronts.attacks import BOUNDED, FLOODS, Attack
from tests.contract.fronts.site import MIB, Site, path, serving
from tests.faults.raw_http2 import PREFACE, RawConnection, request_headers

HANG = path("HangAfter").encode()
ENHANCE_YOUR_CALM = 0xB
_SOON_S = 10.0
"""A call that is made while the server is attacked; it is a few milliseconds on an idle machine."""


@pytest.fixture
def others(native: Site) -> Iterator[None]:
    """Another caller is served all the time."""
    done, slowest = threading.Event(), [0.0]
    failures: list[BaseException] = []

    def call() -> None:
        try:
            with grpc.insecure_channel(native.address) as channel:
                while not done.is_set():
                    began = time.monotonic()
                    channel.unary_unary(path("Echo"))(b"x", timeout=_SOON_S)
                    slowest[0] = max(slowest[0], time.monotonic() - began)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    yield
    done.set()
    thread.join()
    assert not failures, failures


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("attack", FLOODS, ids=lambda attack: attack.name)
def test_a_flood_ends_its_connection(native: Site, attack: Attack) -> None:
    outcome = attacks.run(native.address, attack, HANG, max_bytes=64 * MIB)
    assert outcome.cut_off
    assert outcome.error_code != 0  # None where the GOAWAY was overtaken by the end
    assert outcome.sent_bytes < 16 * MIB


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("attack", BOUNDED, ids=lambda attack: attack.name)
def test_others_are_served_while_one_holds_on_to_what_it_can(native: Site, attack: Attack) -> None:
    attacks.run(native.address, attack, HANG, max_bytes=4 * MIB, max_s=3.0)


def test_a_caller_may_not_hold_unread_more_than_a_connection_may() -> None:
    """64 MiB, and what the sockets hold."""
    with serving("native", max_streams=2_000) as site:
        attack = next(attack for attack in BOUNDED if attack.name == "unread bodies")
        hang = path("Hang").encode()
        outcome = attacks.run(site.address, attack, hang, max_bytes=200 * MIB, max_s=3.0)
    assert outcome.sent_bytes < 140 * MIB


def test_responses_that_nobody_reads_end_the_connection() -> None:
    """8 MiB each, and at most 256 MiB, although thousands of calls come at once."""
    attack = attacks.unread_responses(b"%d" % (8 * MIB))
    with serving("native") as site:
        outcome = attacks.run(site.address, attack, path("Big").encode(), max_bytes=MIB)
    assert outcome.cut_off
    assert outcome.error_code in (None, ENHANCE_YOUR_CALM)
    assert site.written <= 33


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
    with serving("native") as site, RawConnection.greeted(site.address) as connection:
        assert connection.ping()
        first, *_ = connection.request(request_headers(HANG))
        began = time.monotonic()
        for byte in first[:-1] * 100:
            if not connection.send(bytes((byte,))) or time.monotonic() - began > _SOON_S:
                break
            time.sleep(0.1)
        assert time.monotonic() - began < _SOON_S
