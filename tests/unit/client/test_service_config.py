"""The published service config agrees with the contract."""

from __future__ import annotations

import json

from forebay.routes import read_methods
from forebay.service_config import service_config
from tests.echo.v1 import echo_pb2
from tests.unit.samples import COMPUTE

ECHO = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]


def covered(config: str) -> set[str]:
    (methods,) = json.loads(config)["methodConfig"]
    return {f"{name['service']}.{name['method']}" for name in methods["name"]}


def test_the_published_file_is_what_the_contract_says() -> None:
    assert service_config() == service_config([COMPUTE])
    assert covered(service_config()) == {method.full_name for method in COMPUTE.methods}


def test_methods_that_may_not_be_run_again_are_covered_where_calls_have_ids() -> None:
    served = {method.name: method.may_run_again for method in read_methods([ECHO])}
    assert {True, False} == set(served.values())
    assert covered(service_config([ECHO])) == {name for name, again in served.items() if again}
    assert covered(service_config([ECHO], calls_have_ids=True)) == served.keys()
