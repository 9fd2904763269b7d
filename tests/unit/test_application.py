"""A Celery application out of services and handlers."""

from __future__ import annotations

from typing import Any

from forebay.compute.v1 import compute_pb2
from forebay_workers import application

SERVICE = compute_pb2.DESCRIPTOR.services_by_name["ComputeService"]
ADD = "add_module.tasks.add"


def handlers(**given: Any) -> dict[str, Any]:
    return dict.fromkeys(("Add", "Factorial", "MatMul"), lambda request, context: None) | given


def test_each_application_of_a_process_has_its_own_handlers() -> None:
    one, other = (application(name, {SERVICE: handlers()}) for name in ("one", "other"))
    for app in (one, other):
        app.finalize()
    assert one.tasks[ADD] is not other.tasks[ADD]
    assert (one.tasks[ADD].app, other.tasks[ADD].app) == (one, other)
