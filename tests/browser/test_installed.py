"""The operators' page of an installed wheel, far from the tree."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from forebay.compute.v1.compute_pb2 import FactorialRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.metadata import CALL_ID
from tests.browser.running import Browser
from tests.browser.stack import get
from tests.harness import free_port, process, short_folder
from tests.installed import Wheel

METHOD = "forebay.compute.v1.ComputeService.Factorial"


@pytest.mark.variant
@pytest.mark.timeout(300)  # a fresh environment is made
def test_each_view_of_an_installed_page_works_and_asks_no_other_host(
    browser: Browser, wheel: Wheel, tmp_path: Path
) -> None:
    installed = wheel.installed("all")
    where = installed.succeeds("python", "-c", "import forebay_gateway as one; print(one.__file__)")
    assert where.startswith(str(installed.bin.parent))
    admin = f"127.0.0.1:{free_port()}"
    command = (str(installed.bin / "forebay"), "up", "--listen", "127.0.0.1:0")
    with short_folder() as data:
        env = {**installed.env, "FOREBAY_DATA_DIR": str(data), "FOREBAY_WEB_LISTEN": "127.0.0.1:0"}
        with process(*command, "--admin-listen", admin, env=env, cwd=tmp_path) as up:
            address = up.wait_for(r"ready on (\S+)")[1]
            with grpc.insecure_channel(address) as channel:
                factorial = ComputeServiceStub(channel).Factorial
                list(factorial(FactorialRequest(n=30), metadata=[(CALL_ID, "call")], timeout=60))
            assert get(f"http://{admin}", "/").status == 200
            shown = {"call": "operations/call", "method": METHOD, "queue": "factorial"}
            looks = {"worker": "forebay-factorial", "scheme": "light", "width": 1280}
            browser.run("views", f"http://{admin}", **shown, **looks)
