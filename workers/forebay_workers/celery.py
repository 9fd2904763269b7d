"""The application that `celery -A forebay_workers worker` runs: ComputeService's three tasks."""

from __future__ import annotations

from forebay.compute.v1 import compute_pb2
from forebay_workers.application import application
from forebay_workers.compute.add import add
from forebay_workers.compute.factorial import factorial
from forebay_workers.compute.mat_mul import mat_mul

app = application(
    "forebay_workers",
    {
        compute_pb2.DESCRIPTOR.services_by_name["ComputeService"]: {
            "Add": add,
            "Factorial": factorial,
            "MatMul": mat_mul,
        }
    },
)
