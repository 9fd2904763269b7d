"""Calls of EchoService whose handlers wait, and note when they begin and end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.echo.v1.echo_pb2 import EchoRequest, Gate
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Gates:
    """Calls whose handlers each wait at a gate of their own, and note when they begin and end."""

    folder: Path

    def call(self, stub: EchoServiceStub, method: str, name: str) -> Any:
        """Starts a call."""
        gate = Gate(path=str(self.folder / name))
        request = EchoRequest(act="pass the gate", text=name, gate=gate)
        return getattr(stub, method).future(request, timeout=TIMEOUT_S)

    def open(self, name: str) -> None:
        (self.folder / name).touch()

    def noted(self) -> list[tuple[str, str]]:
        """The names of calls, each with `begins` or `ends`, in their order."""
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [(name, what) for name, _, what in (line.partition(" ") for line in lines)]

    def begun(self) -> list[str]:
        """The names of the calls whose handlers have begun."""
        return [name for name, what in self.noted() if what == "begins"]

    def running_at_once(self) -> list[int]:
        """How many handlers ran, after each that began or ended."""
        counts = [0]
        for _, what in self.noted():
            counts.append(counts[-1] + (1 if what == "begins" else -1))
        return counts

    def fill(self, stub: EchoServiceStub, method: str, slots: int) -> None:
        """Runs more calls than there are slots; fails unless exactly so many run at once.

        Each call that ends makes room for one: a worker that took more would do so then, too.
        """
        names = [str(number) for number in range(2 * slots + 2)]
        calls = {name: self.call(stub, method, name) for name in names}
        for ended in range(len(names)):
            full = min(len(names), ended + slots)
            eventually(lambda full=full: len(self.begun()) >= full, "the slots are full")
            assert len(self.begun()) == full
            name = self.begun()[ended]
            self.open(name)
            assert calls[name].result().text == name
        assert max(self.running_at_once()) == slots
        assert sorted(self.begun()) == sorted(names), "each has run once"
