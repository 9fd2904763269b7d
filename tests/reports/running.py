"""A gateway and a worker of ReportService, as processes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.api_core import operation
from google.api_core.operations_v1 import OperationsClient

from tests.commands import Ran, run
from tests.echo.running import pool_option
from tests.harness import environment, forebay_gateway, process, short_folder
from tests.reports.v1 import reports_pb2 as pb
from tests.reports.v1.reports_pb2_grpc import ReportServiceStub

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 30.0
HANDLERS, COROUTINES = "tests.reports.worker", "tests.reports.aio_worker"
REPORTS = pb.DESCRIPTOR.services_by_name["ReportService"]
SERVICE = REPORTS.full_name


@dataclass(frozen=True)
class Reports:
    """A gateway and a worker of ReportService, and clients of the gateway."""

    address: str
    env: dict[str, str]
    channel: grpc.Channel
    stub: ReportServiceStub
    operations: OperationsClient

    def render(self, **fields: Any) -> Any:
        """Google's future for a report."""
        started = self.stub.Render(pb.RenderRequest(**fields), timeout=TIMEOUT_S)
        return operation.from_gapic(
            started, self.operations, pb.Report, metadata_type=pb.RenderProgress
        )

    def run(self, *command: str) -> Ran:
        """Runs a `forebay` command on the gateway."""
        return run("forebay", *command, env=self.env)


@contextlib.contextmanager
def running_reports(
    app: str = HANDLERS, pool: str = "threads", **variables: str
) -> Iterator[Reports]:
    """The gateway and the worker, with these further settings."""
    pool, pool_variables = pool_option(pool)
    with short_folder() as folder:
        env = environment(
            FOREBAY_SERVICES=json.dumps(["tests.reports.v1.reports_pb2"]),
            FOREBAY_DATA_DIR=str(folder / "data"),
            **variables,
            **pool_variables,
        )
        celery = ["celery", "-A", app, "worker", "-Q", "reports", "-l", "INFO"]
        options = ["--pool", pool, "--concurrency", "4", "--without-mingle"]
        with (
            forebay_gateway(env=env, cwd=ROOT) as (_, address),
            process(*celery, *options, "--without-gossip", env=env, cwd=ROOT) as worker,
            grpc.insecure_channel(address) as channel,
        ):
            worker.wait_for(r" ready\.")
            yield Reports(
                address,
                {**env, "FOREBAY_ADDRESS": address},
                channel,
                ReportServiceStub(channel),
                OperationsClient(channel),
            )
