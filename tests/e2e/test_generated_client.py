"""A client that openapi-python-client makes of `/openapi.json` calls the gateway."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import run
from tests.e2e.conftest import Site
from tests.e2e.web import web_gateway
from tests.harness import environment

pytestmark = pytest.mark.variant

PROGRAM = """
import sys
from forebay_client import Client
from forebay_client.api.forebay_compute_v_1_compute_service import (
    compute_service_add, compute_service_add_2,
)
from forebay_client.models import ForebayComputeV1AddRequest, GoogleRpcStatus

client = Client(base_url=sys.argv[1])
summed = compute_service_add.sync(client=client, body=ForebayComputeV1AddRequest(x=1.5, y=2.0))
print(summed.sum_)
print(compute_service_add_2.sync(client=client, x=0.5, y=0.25).sum_)
failed = compute_service_add_2.sync(client=client, x="NaN!", y=0.25)
assert isinstance(failed, GoogleRpcStatus)
print(failed.code)
"""


def test_a_generated_client_makes_calls(site: Site, tmp_path: Path) -> None:
    web = web_gateway(site)
    document = tmp_path / "openapi.json"
    document.write_bytes(web.request("GET", "/openapi.json").body)
    assert json.loads(document.read_text())["info"]["title"] == "Forebay"
    command = ["openapi-python-client", "generate", "--path", str(document), "--fail-on-warning"]
    generated = tmp_path / "client"
    run(*command, "--output-path", str(generated), "--meta", "none", env=environment()).succeeded()
    generated.rename(tmp_path / "forebay_client")
    url = f"http://{web.address}"
    printed = run("python", "-c", PROGRAM, url, env=environment(PYTHONPATH=str(tmp_path)))
    assert printed.succeeded().out.split() == ["3.5", "0.75", "3"]
