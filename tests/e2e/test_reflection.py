"""Server reflection, v1 and v1alpha, over raw stubs."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2 as pb

from forebay.compute.v1 import compute_pb2
from forebay.v1 import route_pb2

TIMEOUT_S = 30.0
COMPUTE = "forebay.compute.v1"
SERVICE = f"{COMPUTE}.ComputeService"
COMPUTE_FILE = "forebay/compute/v1/compute.proto"
ROUTE_FILE = "forebay/v1/route.proto"
OPTIONS = "google.protobuf.MethodOptions"

Request = pb.ServerReflectionRequest


class Reflection:
    """One of the two protocols, on a channel. Their messages are the same on the wire."""

    def __init__(self, channel: grpc.Channel, version: str) -> None:
        self._channel = channel
        self._path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"

    def ask(self, *requests: pb.ServerReflectionRequest) -> list[pb.ServerReflectionResponse]:
        """The responses to the requests, which are sent on one stream."""
        return self.send(*(request.SerializeToString() for request in requests))

    def send(self, *requests: bytes) -> list[pb.ServerReflectionResponse]:
        """As `ask`, for any bytes as messages."""
        stream = self._channel.stream_stream(
            self._path,
            request_serializer=None,
            response_deserializer=pb.ServerReflectionResponse.FromString,
        )
        return list(stream(iter(requests), timeout=TIMEOUT_S))

    def files(self, request: pb.ServerReflectionRequest) -> list[str]:
        """The names of the files that answer the request, in order."""
        return [file.name for file in self.descriptors(request)]

    def descriptors(
        self, request: pb.ServerReflectionRequest
    ) -> list[descriptor_pb2.FileDescriptorProto]:
        """The files that answer the request."""
        [answer] = self.ask(request)
        assert answer.WhichOneof("message_response") == "file_descriptor_response", answer
        return [
            descriptor_pb2.FileDescriptorProto.FromString(file)
            for file in answer.file_descriptor_response.file_descriptor_proto
        ]


@pytest.fixture(params=["v1", "v1alpha"])
def reflection(channel: grpc.Channel, request: pytest.FixtureRequest) -> Reflection:
    """Both protocols, in turn."""
    return Reflection(channel, request.param)


def test_the_services_are_listed(reflection: Reflection) -> None:
    [answer] = reflection.ask(Request(list_services="*"))
    assert [service.name for service in answer.list_services_response.service] == [
        SERVICE,
        "forebay.v1.CallService",
        "google.longrunning.Operations",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]


@pytest.mark.parametrize("name", [COMPUTE_FILE, ROUTE_FILE, "google/protobuf/descriptor.proto"])
def test_a_file_is_found_by_its_name(reflection: Reflection, name: str) -> None:
    assert reflection.files(Request(file_by_filename=name))[0] == name


@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        (SERVICE, COMPUTE_FILE),
        (f"{SERVICE}.Factorial", COMPUTE_FILE),
        (f"{COMPUTE}.FactorialRequest", COMPUTE_FILE),
        (f"{COMPUTE}.FactorialRequest.n", COMPUTE_FILE),
        (f"{COMPUTE}.FactorialResponse.part", COMPUTE_FILE),
        (f"{COMPUTE}.DataType", COMPUTE_FILE),
        (f"{COMPUTE}.DATA_TYPE_INT32", COMPUTE_FILE),
        ("forebay.v1.Route", ROUTE_FILE),
        ("forebay.v1.ON_DISCONNECT_DETACH", ROUTE_FILE),
        ("forebay.v1.route", ROUTE_FILE),
        ("google.protobuf.DescriptorProto.ExtensionRange", "google/protobuf/descriptor.proto"),
        ("google.protobuf.FieldOptions.CType", "google/protobuf/descriptor.proto"),
        ("google.protobuf.FieldOptions.STRING_PIECE", "google/protobuf/descriptor.proto"),
        ("grpc.health.v1.Health.Watch", "grpc_health/v1/health.proto"),
        ("grpc.health.v1.HealthCheckResponse.SERVING", "grpc_health/v1/health.proto"),
        ("grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto"),
    ],
)
def test_the_file_of_a_symbol_comes_first(reflection: Reflection, symbol: str, file: str) -> None:
    assert reflection.files(Request(file_containing_symbol=symbol))[0] == file


def test_a_file_comes_with_all_that_it_imports_each_once(reflection: Reflection) -> None:
    files = reflection.descriptors(Request(file_containing_symbol=SERVICE))
    names = [file.name for file in files]
    assert sorted(names) == sorted(set(names))
    assert {needed for file in files for needed in file.dependency} <= set(names)


def test_a_client_can_build_the_service_with_its_routes(reflection: Reflection) -> None:
    pool = DescriptorPool()
    for file in reversed(reflection.descriptors(Request(file_containing_symbol=SERVICE))):
        pool.AddSerializedFile(file.SerializeToString())
    [add, factorial, mat_mul] = pool.FindServiceByName(SERVICE).methods
    assert (add.name, factorial.name, mat_mul.name) == ("Add", "Factorial", "MatMul")
    options = descriptor_pb2.MethodOptions.FromString(add.GetOptions().SerializeToString())
    served = compute_pb2.DESCRIPTOR.services_by_name["ComputeService"].methods[0].GetOptions()
    assert options.Extensions[route_pb2.route] == served.Extensions[route_pb2.route]


def test_the_route_option_is_found_as_an_extension(reflection: Reflection) -> None:
    extension = pb.ExtensionRequest(containing_type=OPTIONS, extension_number=50051)
    assert reflection.files(Request(file_containing_extension=extension))[0] == ROUTE_FILE


def test_reflection_lists_the_extension_numbers_of_a_type(reflection: Reflection) -> None:
    options, add = reflection.ask(
        Request(all_extension_numbers_of_type=OPTIONS),
        Request(all_extension_numbers_of_type=f"{COMPUTE}.AddRequest"),
    )
    assert options.all_extension_numbers_response.base_type_name == OPTIONS
    assert 50051 in options.all_extension_numbers_response.extension_number
    assert add.WhichOneof("message_response") == "all_extension_numbers_response"
    assert not add.all_extension_numbers_response.extension_number


@pytest.mark.parametrize(
    "request_",
    [
        Request(file_by_filename="no/such/file.proto"),
        Request(file_containing_symbol=""),
        Request(file_containing_symbol=COMPUTE),
        Request(file_containing_symbol=f"{COMPUTE}.NoSuchMessage"),
        Request(file_containing_symbol=f"{SERVICE}.NoSuchMethod"),
        Request(file_containing_symbol=f"{COMPUTE}.AddRequest.no_such_field"),
        Request(file_containing_symbol=f"{COMPUTE}.NO_SUCH_VALUE"),
        Request(
            file_containing_extension=pb.ExtensionRequest(
                containing_type=OPTIONS, extension_number=1
            )
        ),
        Request(
            file_containing_extension=pb.ExtensionRequest(
                containing_type="no.such.Type", extension_number=50051
            )
        ),
        Request(
            file_containing_extension=pb.ExtensionRequest(
                containing_type=OPTIONS, extension_number=-1
            )
        ),
        Request(all_extension_numbers_of_type="no.such.Type"),
        Request(all_extension_numbers_of_type=f"{COMPUTE}.DataType"),
    ],
    ids=lambda request: str(request).replace("\n", " ").strip(),
)
def test_an_unknown_name_gets_not_found(
    reflection: Reflection, request_: pb.ServerReflectionRequest
) -> None:
    [answer] = reflection.ask(request_)
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_a_reflection_stream_continues_after_an_error_in_order(reflection: Reflection) -> None:
    requests = [
        Request(host="here", file_containing_symbol="no.such.Symbol"),
        Request(host="here"),
        Request(host="here", file_containing_symbol=SERVICE),
    ]
    answers_ = reflection.ask(*requests)
    assert [answer.original_request for answer in answers_] == requests
    assert {answer.valid_host for answer in answers_} == {"here"}
    assert [answer.error_response.error_code for answer in answers_] == [
        grpc.StatusCode.NOT_FOUND.value[0],
        grpc.StatusCode.INVALID_ARGUMENT.value[0],
        0,
    ]


def test_a_stream_without_requests_ends_well(reflection: Reflection) -> None:
    assert reflection.ask() == []


def test_garbage_ends_its_own_stream_only(reflection: Reflection) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        reflection.send(b"\xff\xff\xff")
    assert raised.value.code() is not grpc.StatusCode.OK
    assert reflection.ask(Request(list_services="*"))


def test_garbage_is_answered_as_an_invalid_argument(reflection: Reflection) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        reflection.send(b"\xff\xff\xff")
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "<class" not in (raised.value.details() or "")
