"""What methods require: every one that a gateway serves has been thought of."""

from __future__ import annotations

from dataclasses import replace

from google.longrunning import operations_proto_pb2

from forebay.v1 import calls_pb2
from forebay_gateway.identity.permissions import OWN
from forebay_gateway.identity.requirements import (
    ANY_IDENTITY,
    OPEN,
    Requirement,
    Requirements,
    permission_of,
)
from tests.unit.samples import METHODS

ADD = METHODS["Add"]


def test_a_method_requires_its_full_name_or_what_its_route_says() -> None:
    named = replace(ADD, route=replace(ADD.route, requires="sums.add"))
    assert permission_of(ADD) == "forebay.compute.v1.ComputeService.Add"
    assert permission_of(named) == "sums.add"
    assert Requirements([named]).of(ADD.path) == Requirement("sums.add")


def test_only_the_health_check_is_open_to_strangers() -> None:
    requirements = Requirements(METHODS.values())
    assert requirements.of("/grpc.health.v1.Health/Check") is OPEN
    for path in (
        "/grpc.health.v1.Health/Watch",
        "/grpc.health.v1.Health/List",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "",
    ):
        assert requirements.of(path) is ANY_IDENTITY


def test_a_path_that_nobody_has_listed_is_closed() -> None:
    assert Requirements([]).of("/new.v1.Service/Method") == Requirement("new.v1.Service.Method")
    scaler = "/externalscaler.ExternalScaler/IsActive"
    assert Requirements([]).of(scaler).permission
    assert Requirements([], for_operators=True).of(scaler) is OPEN


def test_each_rpc_of_the_gateways_own_services_has_a_permission_of_its_own() -> None:
    requirements = Requirements([])
    operations = operations_proto_pb2.DESCRIPTOR.services_by_name["Operations"]
    for service in (calls_pb2.DESCRIPTOR.services_by_name["CallService"], operations):
        for method in service.methods:
            found = requirements.of(f"/{service.full_name}/{method.name}")
            assert not found.is_open
            needs_none = method.name in ("WhoAmI", "DescribeMethod")
            assert found.permission in OWN or needs_none, method.full_name
