"""What a load report says of a gateway."""

from __future__ import annotations

import grpc
import pytest

from forebay_gateway.admission.admission import CALL_BYTES, Admission
from forebay_gateway.load_reports.orca_pb2 import LoadReport
from forebay_gateway.load_reports.utilization import LEAST, REPORT_HOLDS_S, Utilization


class Machine:
    """Clocks that the test sets."""

    now_s = 100.0
    cpu_s = 7.0

    def __init__(self, max_calls: int = 100) -> None:
        self.admission = Admission(max_calls, 10_000 * CALL_BYTES)
        self.utilization = Utilization(self.admission, lambda: self.now_s, lambda: self.cpu_s)

    def run(self, seconds: float, cpu_s: float = 0.0) -> None:
        self.now_s += seconds
        self.cpu_s += cpu_s

    def report(self) -> LoadReport:
        return LoadReport.FromString(self.utilization.report())


def test_an_idle_gateway_is_a_little_in_use() -> None:
    machine = Machine()
    machine.run(1.0)
    report = machine.report()
    assert report.application_utilization == LEAST
    assert (report.rps_fractional, report.eps, report.cpu_utilization) == (0, 0, 0)


def test_calls_count_per_second() -> None:
    machine = Machine()
    for code in [grpc.StatusCode.OK] * 7 + [grpc.StatusCode.UNAVAILABLE] * 3:
        machine.utilization.on_call_end(code)
    machine.run(2.0)
    report = machine.report()
    assert (report.rps_fractional, report.eps) == (5.0, 1.5)


def test_errors_of_callers_and_handlers_are_not_the_gateways() -> None:
    machine = Machine()
    for code in (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    ):
        machine.utilization.on_call_end(code)
    machine.run(1.0)
    assert machine.report().eps == 0


def test_the_scarcest_resource_counts() -> None:
    machine = Machine(max_calls=10)
    machine.run(1.0, cpu_s=0.25)
    assert machine.report().application_utilization == pytest.approx(0.25)
    permits = [machine.admission.admit(f"caller {number}") for number in range(5)]
    machine.run(1.0, cpu_s=0.25)
    report = machine.report()
    assert report.cpu_utilization == pytest.approx(0.25)
    assert report.utilization["calls"] == 0.5
    assert report.utilization["held_bytes"] == pytest.approx(5 / 10_000)
    assert report.application_utilization == 0.5
    for permit in permits:
        with permit:
            pass
    machine.run(1.0, cpu_s=0.25)
    assert machine.report().application_utilization == pytest.approx(0.25)


def test_old_load_is_forgotten() -> None:
    machine = Machine()
    for _ in range(100):
        machine.utilization.on_call_end(grpc.StatusCode.OK)
    machine.run(1.0, cpu_s=1.0)
    machine.report()
    for _ in range(10):
        machine.run(1.0)
        machine.report()
    assert machine.report().cpu_utilization == 0
    assert machine.report().rps_fractional == 0


def test_a_report_holds_for_a_moment() -> None:
    machine = Machine()
    machine.run(1.0, cpu_s=0.5)
    first = machine.utilization.report()
    machine.run(REPORT_HOLDS_S / 2, cpu_s=REPORT_HOLDS_S / 2)
    assert machine.utilization.report() == first
    machine.run(REPORT_HOLDS_S / 2, cpu_s=REPORT_HOLDS_S / 2)
    assert machine.utilization.report() != first


def test_the_fields_are_those_of_orca() -> None:
    """By xds/data/orca/v3/orca_load_report.proto of the xDS API."""
    fields = {field.name: field.number for field in LoadReport.DESCRIPTOR.fields}
    assert fields == {
        "cpu_utilization": 1,
        "utilization": 5,
        "rps_fractional": 6,
        "eps": 7,
        "application_utilization": 9,
    }
