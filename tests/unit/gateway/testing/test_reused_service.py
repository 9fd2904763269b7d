"""Which services go on from one module of tests to the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from forebay_gateway.testing.reused_service import ReusedService


class Log:
    """Starts services that say what becomes of them."""

    def __init__(self) -> None:
        self.kept: ReusedService[str] = ReusedService()
        self.lines: list[str] = []

    def use(self, services: dict[Any, Any]) -> str:
        """One module."""
        with self.kept.using(services, lambda: self.serve(str(services))) as service:
            return service

    @contextmanager
    def serve(self, name: str) -> Iterator[str]:
        self.lines.append(f"start {name}")
        yield name
        self.lines.append(f"end {name}")


@pytest.fixture
def log() -> Log:
    return Log()


def test_the_same_services_are_started_once(log: Log) -> None:
    assert [log.use({1: "a"}), log.use({1: "a"})] == ["{1: 'a'}"] * 2
    assert log.lines == ["start {1: 'a'}"]


def test_other_services_end_those_before(log: Log) -> None:
    log.use({1: "a"})
    log.use({1: "b"})
    assert log.lines == ["start {1: 'a'}", "end {1: 'a'}", "start {1: 'b'}"]


def test_services_that_were_changed_are_other_services(log: Log) -> None:
    services = {1: "a"}
    log.use(services)
    services[1] = "b"
    assert log.use(services) == "{1: 'b'}"


def test_what_is_kept_makes_way_and_what_is_in_use_does_not(log: Log) -> None:
    with log.kept.using({1: "a"}, lambda: log.serve("a")):
        log.kept.stop_if_unused()
        assert log.lines == ["start a"]
    log.kept.stop_if_unused()
    log.kept.stop_if_unused()
    assert log.lines == ["start a", "end a"]
    assert log.use({1: "a"}) == "{1: 'a'}"


def test_a_start_that_fails_leaves_nothing(log: Log) -> None:
    @contextmanager
    def fail() -> Iterator[str]:
        raise RuntimeError("no")
        yield "never"

    log.use({1: "a"})
    with pytest.raises(RuntimeError, match="no"), log.kept.using({1: "b"}, fail):
        raise AssertionError
    assert log.use({1: "b"}) == "{1: 'b'}"
