"""The life of a call, compared with the design's text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.v1 import call_pb2
from forebay_backends.ledger.lifecycle import (
    TRANSITIONS,
    Event,
    State,
    known_state,
    lua_table,
    next_state,
)

# Section 4 of the design, read again by hand: "RECEIVING → QUEUED → RUNNING → SUCCEEDED |
# FAILED | CANCELLED | EXPIRED, and RUNNING → QUEUED when a claim lapses"; requests of a live
# call come in any of the first three; any call that has not ended may
# fail (for want of workers, say), be cancelled or expire; only a handler succeeds. A delayed call
# is queued when it is due.
ARROWS = {
    ("RECEIVING", "receive", "RECEIVING"),
    ("RECEIVING", "complete", "QUEUED"),
    ("DELAYED", "start", "QUEUED"),
    ("QUEUED", "receive", "QUEUED"),
    ("QUEUED", "complete", "QUEUED"),
    ("QUEUED", "claim", "QUEUED"),
    ("QUEUED", "lapse", "QUEUED"),
    ("QUEUED", "begin", "RUNNING"),
    ("RUNNING", "receive", "RUNNING"),
    ("RUNNING", "complete", "RUNNING"),
    ("RUNNING", "emit", "RUNNING"),
    ("RUNNING", "lapse", "QUEUED"),
    ("RUNNING", "succeed", "SUCCEEDED"),
} | {
    (live, event, end)
    for live in ("RECEIVING", "DELAYED", "QUEUED", "RUNNING")
    for event, end in (("fail", "FAILED"), ("cancel", "CANCELLED"), ("expire", "EXPIRED"))
}
TERMINAL = {State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED}

# https://www.lua.org/manual/5.1/manual.html#2.1
LUA_WORDS = set(
    re.findall(
        r"\w+",
        "and break do else elseif end false for function if in local nil not or repeat return "
        "then true until while",
    )
)


def test_the_table_is_the_designs() -> None:
    table = {
        (str(state), str(event), str(target))
        for state, row in TRANSITIONS.items()
        for event, target in row.items()
    }
    assert table == ARROWS


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_an_event_has_the_designs_successor_state_or_none(state: State, event: Event) -> None:
    targets = [end for start, name, end in ARROWS if (start, name) == (state, event)]
    assert next_state(state, event) == (State(targets[0]) if targets else None)


@given(st.lists(st.sampled_from(list(Event))), st.sampled_from([State.RECEIVING, State.QUEUED]))
def test_a_terminal_state_is_reached_once_and_never_left(events: list[Event], start: State) -> None:
    reached = [start]
    for event in events:
        target = next_state(reached[-1], event)
        if target is not None:
            reached.append(target)
    assert sum(state in TERMINAL for state in reached) <= 1
    assert not set(reached[:-1]) & TERMINAL


def test_four_states_are_terminal() -> None:
    assert {state for state in State if state.terminal} == TERMINAL


def test_every_active_call_can_fail_be_cancelled_or_expire() -> None:
    for state in set(State) - TERMINAL:
        ends = {next_state(state, event) for event in (Event.FAIL, Event.CANCEL, Event.EXPIRE)}
        assert ends == TERMINAL - {State.SUCCEEDED}


def test_the_states_are_those_of_the_contract() -> None:
    prefix = "CALL_STATE_"
    names = {name.removeprefix(prefix) for name in call_pb2.CallState.DESCRIPTOR.values_by_name}
    assert names - {"UNSPECIFIED"} == set(State)


def test_the_lua_table_says_the_same() -> None:
    text = lua_table()
    rows = re.findall(r"(\w+) = \{([^{}]*)\}", text)
    arrows = {
        (state, event, target)
        for state, row in rows
        for event, target in re.findall(r"(\w+) = '(\w+)'", row)
    }
    assert arrows == ARROWS
    assert [state for state, _ in rows] == [str(state) for state in State]


def test_the_lua_table_is_one_expression_of_names_and_strings() -> None:
    text = lua_table()
    skeleton = re.sub(r"\w+ = '\w+'", "p", text)
    skeleton = re.sub(r"\w+ = \{(p(, p)*)?\}", "r", skeleton)
    assert re.fullmatch(r"\{r(, r)*\}", skeleton)
    assert not LUA_WORDS & set(re.findall(r"\w+", text))


def test_a_state_of_a_newer_version_is_none() -> None:
    assert known_state("RUNNING") is State.RUNNING
    assert known_state("DREAMING") is None
