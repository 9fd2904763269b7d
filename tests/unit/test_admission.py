"""Whether a call may come in."""

from __future__ import annotations

import pytest

from forebay.errors import Draining, QueueFull
from forebay_gateway.admission import Admission


def test_calls_come_in_up_to_the_limit_and_a_leaver_makes_room() -> None:
    admission = Admission(max_calls=2)
    with admission.admit():
        with admission.admit():
            assert admission.in_flight == 2
            with pytest.raises(QueueFull, match="2 calls") as caught, admission.admit():
                pass
            assert (caught.value.retry_after_s or 0) > 0
        with admission.admit():
            assert admission.in_flight == 2
    assert admission.in_flight == 0


def test_a_call_that_fails_gives_its_place_back() -> None:
    admission = Admission(max_calls=1)
    with pytest.raises(KeyError), admission.admit():
        raise KeyError
    assert admission.in_flight == 0


def test_draining_lets_no_further_call_in_and_those_in_flight_go_on() -> None:
    admission = Admission(max_calls=9)
    with admission.admit():
        admission.drain()
        with pytest.raises(Draining) as caught, admission.admit():
            pass
        assert (caught.value.retry_after_s or 0) > 0
        assert admission.in_flight == 1
    assert admission.in_flight == 0


def test_a_full_gateway_that_drains_says_that_it_drains() -> None:
    admission = Admission(max_calls=1)
    with admission.admit():
        admission.drain()
        with pytest.raises(Draining), admission.admit():
            pass
