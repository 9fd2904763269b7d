"""Weighted deficit round robin: shares by weight, no starvation, nothing left undone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from forebay_gateway.fair_queues.round_robin import MAX_COST, RoundRobin


@dataclass(eq=False)
class Call:
    """A call that waits."""

    tenant: str
    number: int = 0
    priority: int = 0
    costs: float = MAX_COST

    def cost(self) -> float:
        return self.costs


def filled(weights: dict[str, int], calls: list[Call]) -> RoundRobin[Call]:
    """A round of these tenants and calls."""
    lines: RoundRobin[Call] = RoundRobin(lambda tenant: weights.get(tenant, 1))
    for call in calls:
        lines.add(call)
    return lines


def taken(lines: RoundRobin[Call], count: int) -> list[Call]:
    """The next calls."""
    found = [lines.next() for _ in range(count)]
    return [one for one in found if one is not None]


def test_two_floods_are_taken_by_their_weights() -> None:
    lines = filled({"a": 2}, [Call(tenant) for tenant in "ab" for _ in range(9)])
    assert "".join(call.tenant for call in taken(lines, 9)) == "aabaabaab"


def test_a_call_of_a_new_tenant_does_not_wait_for_the_flood() -> None:
    lines = filled({}, [Call("flood") for _ in range(10_000)])
    taken(lines, 3)
    lines.add(Call("light"))
    assert "light" in {call.tenant for call in taken(lines, 2)}


def test_priorities_order_the_calls_of_one_tenant_only() -> None:
    calls = [Call("a", n, priority=n % 3) for n in range(6)] + [Call("b"), Call("b")]
    order = taken(filled({}, calls), 8)
    assert [call.number for call in order if call.tenant == "a"] == [2, 5, 1, 4, 0, 3]
    assert [call.tenant for call in order[:4]] == ["a", "b", "a", "b"]


def test_parts_of_messages_count_as_such() -> None:
    calls = [Call("batched", costs=1 / 16) for _ in range(320)] + [Call("whole") for _ in range(20)]
    order = Counter(call.tenant for call in taken(filled({}, calls), 170))
    assert order == {"batched": 160, "whole": 10}


COSTS = st.sampled_from([1.0, 1 / 3, 1 / 16])


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 100), min_size=1),
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9), COSTS), max_size=60),
)
def test_everything_is_taken_once_and_each_line_in_order(
    weights: dict[str, int], made: list[tuple[str, int, float]]
) -> None:
    calls = [Call(tenant, n, priority, cost) for n, (tenant, priority, cost) in enumerate(made)]
    lines = filled(weights, calls)
    order = taken(lines, len(calls))
    assert len(order) == len(calls), "work conserving: never idle while something waits"
    assert lines.next() is None
    assert not lines.count
    for tenant in "abcd":
        own = [call for call in order if call.tenant == tenant]
        assert own == sorted(own, key=lambda call: (-call.priority, call.number))


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9), min_size=2),
    st.data(),
)
def test_shares_are_proportional_to_weights_while_all_wait(
    weights: dict[str, int], data: st.DataObject
) -> None:
    costs = {tenant: data.draw(COSTS, tenant) for tenant in weights}
    rounds = 20
    calls = [
        Call(tenant, costs=costs[tenant])
        for tenant, weight in weights.items()
        for _ in range(int(((rounds + 1) * weight + 2 * MAX_COST) / costs[tenant]) + 1)
    ]
    lines = filled(weights, calls)
    spent = dict.fromkeys(weights, 0.0)
    while sum(spent.values()) < rounds * sum(weights.values()):
        call = lines.next()
        assert call is not None
        spent[call.tenant] += call.costs
    for tenant, weight in weights.items():
        assert abs(spent[tenant] - rounds * weight) <= weight + MAX_COST + 1e-6


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=50))
def test_a_tenant_waits_for_one_round_of_the_others_at_most(
    steps: list[tuple[str, bool]],
) -> None:
    weights = {"a": 3, "b": 5, "light": 1}
    lines = filled(weights, [Call(tenant) for tenant in "ab" for _ in range(100)])
    for tenant, adds in steps:
        if adds:
            lines.add(Call(tenant))
        else:
            lines.next()
    lines.add(Call("light"))
    others = 0
    while (call := lines.next()) is not None and call.tenant != "light":
        others += 1
    assert call is not None
    assert others <= 3 + 5 + 1


def test_a_call_that_left_is_not_taken() -> None:
    calls = [Call("a", 0), Call("a", 1), Call("b", 2)]
    lines = filled({}, calls)
    assert lines.remove(calls[0])
    assert lines.remove(calls[2])
    assert not lines.remove(calls[2])
    assert (lines.waiting("a"), lines.waiting("b"), lines.count) == (1, 0, 1)
    assert taken(lines, 2) == [calls[1]]


def test_a_call_that_does_not_wait_is_not_removed() -> None:
    lines = filled({}, [Call("a", priority=1)])
    for absent in (Call("a", priority=1), Call("a", priority=2), Call("b")):
        assert not lines.remove(absent)
    assert lines.count == 1
