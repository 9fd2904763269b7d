"""Services that keep running from one test module to the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from forebay_gateway.testing.reused_service import ReusedService


class Log:
    """Starts services that log their start and stop."""

    def __init__(self) -> None:
        self.kept: ReusedService[str] = ReusedService()
        self.lines: list[str] = []

    def use(self, services: dict[Any, Any]) -> str:
        """Uses the services as one test module does."""
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


def test_other_services_stop_the_earlier_ones(log: Log) -> None:
    log.use({1: "a"})
    log.use({1: "b"})
    assert log.lines == ["start {1: 'a'}", "end {1: 'a'}", "start {1: 'b'}"]


def test_services_that_were_changed_are_other_services(log: Log) -> None:
    services = {1: "a"}
    log.use(services)
    services[1] = "b"
    assert log.use(services) == "{1: 'b'}"


def test_a_kept_service_is_stopped_and_a_used_one_is_not(log: Log) -> None:
    with log.kept.using({1: "a"}, lambda: log.serve("a")):
        log.kept.stop_if_unused()
        assert log.lines == ["start a"]
    log.kept.stop_if_unused()
    log.kept.stop_if_unused()
    assert log.lines == ["start a", "end a"]
    assert log.use({1: "a"}) == "{1: 'a'}"


def test_a_failed_start_leaves_nothing_behind(log: Log) -> None:
    @contextmanager
    def fail() -> Iterator[str]:
        raise RuntimeError("no")
        yield "never"

    log.use({1: "a"})
    with pytest.raises(RuntimeError, match="no"), log.kept.using({1: "b"}, fail):
        raise AssertionError
    assert log.use({1: "b"}) == "{1: 'b'}"
