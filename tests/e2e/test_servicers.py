"""gRPC's own examples as ordinary servicers, served by gRPC's servers and by Forebay.

What a caller sees is the same. There is one set of servicers for `grpc.server`, and one of
coroutines for `grpc.aio.server`. On Forebay the ordinary RouteGuide runs on the prefork pool, the
ordinary Greeter on threads; the coroutines of RouteGuide on Forebay's asyncio pool, and those of
Greeter on prefork.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from tests.e2e.interop import Answer
from tests.echo.running import ROOT, pool_option
from tests.harness import environment, forebay_gateway, process, short_folder
from tests.servicers.aio_greeter import AioGreeter
from tests.servicers.aio_polite import AioPolite
from tests.servicers.aio_route_guide import AioRouteGuide
from tests.servicers.aio_server import aio_server
from tests.servicers.greeter import Greeter
from tests.servicers.helloworld_pb2 import HelloReply, HelloRequest
from tests.servicers.helloworld_pb2_grpc import GreeterStub, add_GreeterServicer_to_server
from tests.servicers.polite import Polite
from tests.servicers.route_guide import FEATURES, RouteGuide
from tests.servicers.route_guide_pb2 import Feature, Point, Rectangle, RouteNote, RouteSummary
from tests.servicers.route_guide_pb2_grpc import RouteGuideStub, add_RouteGuideServicer_to_server

TIMEOUT_S = 30.0
STATUS = "grpc-status-details-bin"
OPTIONS = ["-l", "INFO", "--concurrency", "2", "--without-mingle", "--without-gossip"]
NOWHERE = Point(latitude=1, longitude=1)
HERE, THERE = (FEATURES[index].location for index in (0, 1))
EVERYWHERE = Rectangle(
    lo=Point(latitude=400000000, longitude=-750000000),
    hi=Point(latitude=420000000, longitude=-730000000),
)


@contextmanager
def grpc_server() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(4), interceptors=[Polite()])
    add_GreeterServicer_to_server(Greeter(), server)
    add_RouteGuideServicer_to_server(RouteGuide(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@contextmanager
def grpc_aio_server() -> Iterator[str]:
    with aio_server(
        partial(add_GreeterServicer_to_server, AioGreeter()),
        partial(add_RouteGuideServicer_to_server, AioRouteGuide()),
        interceptors=[AioPolite()],
    ) as address:
        yield address


@contextmanager
def fleet(app: str, greeter_pool: str, guide_pool: str) -> Iterator[str]:
    """A gateway, and a worker for each servicer."""
    modules = '["tests.servicers.helloworld_pb2", "tests.servicers.route_guide_pb2"]'
    with short_folder() as folder, ExitStack() as stack:
        env = environment(FOREBAY_SERVICES=modules, FOREBAY_DATA_DIR=str(folder / "data"))
        _, address = stack.enter_context(forebay_gateway(env=env, cwd=ROOT))
        workers = []
        for queue, pool in (("greeter", greeter_pool), ("guide", guide_pool)):
            option, variables = pool_option(pool)
            command = ["celery", "-A", app, "worker", "-Q", queue, "-n", f"{queue}@%h"]
            started = process(
                *command, *OPTIONS, "--pool", option, env={**env, **variables}, cwd=ROOT
            )
            workers.append(stack.enter_context(started))
        for worker in workers:
            worker.wait_for(r" ready\.")
        yield address


SERVERS = {
    "grpc.server": grpc_server,
    "grpc.aio.server": grpc_aio_server,
    "Forebay": partial(fleet, "tests.servicers.worker", "threads", "prefork"),
    "Forebay, coroutines": partial(fleet, "tests.servicers.aio_worker", "prefork", "asyncio"),
}


@pytest.fixture(scope="module", params=SERVERS)
def system(request: pytest.FixtureRequest) -> Iterator[grpc.Channel]:
    with SERVERS[request.param]() as address, grpc.insecure_channel(address) as channel:
        yield channel


@pytest.fixture
def greeter(system: grpc.Channel) -> GreeterStub:
    return GreeterStub(system)


@pytest.fixture
def guide(system: grpc.Channel) -> RouteGuideStub:
    return RouteGuideStub(system)


def answer_of(call: Any, *, streams: bool = True) -> Answer:
    """Everything that a caller receives, without Forebay's additions."""
    answer = Answer()
    try:
        if streams:
            for response in call:
                answer.responses.append(response)
        else:
            answer.responses.append(call.result())
    except grpc.RpcError:
        pass
    answer.code, answer.details = call.code(), call.details()
    return answer.ended(call, own(call.initial_metadata()), own(call.trailing_metadata()))


def own(metadata: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The servicer's own metadata. Forebay's errors also have an ErrorInfo."""
    found = {key: value for key, value in metadata if not key.startswith("forebay-")}
    if STATUS in found:
        status = status_pb2.Status.FromString(found.pop(STATUS))
        details = [
            one for one in status.details if not one.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)
        ]
        if details:
            found[STATUS] = (status.code, status.message, details)
    return found


def without_exception(details: str) -> str:
    """The details; empty for those of grpc.aio.server, which has the exception in their place."""
    return "" if details.startswith("Unexpected <class") else details


def say_hello(greeter: GreeterStub, name: str, *metadata: tuple[str, str]) -> Answer:
    call = greeter.SayHello.future(HelloRequest(name=name), timeout=TIMEOUT_S, metadata=metadata)
    return answer_of(call, streams=False)


def test_a_greeting_comes_with_its_metadata(greeter: GreeterStub) -> None:
    answer = say_hello(greeter, "world", ("x-tone", "Good day"))
    assert answer == Answer(
        [HelloReply(message="Good day, world!")],
        grpc.StatusCode.OK,
        "",
        {"x-greeter": "ordinary"},
        {"checksum-bin": b"I agree\xff", "retry": "false"},
    )


@pytest.mark.parametrize(
    ("name", "code", "details"),
    [
        ("", grpc.StatusCode.INVALID_ARGUMENT, "a name is missing"),
        ("nobody", grpc.StatusCode.NOT_FOUND, "nobody is here"),
    ],
)
def test_a_status_is_the_servicers(
    greeter: GreeterStub, name: str, code: grpc.StatusCode, details: str
) -> None:
    assert say_hello(greeter, name) == Answer([], code, details)


def test_an_interceptor_rejects_a_caller(greeter: GreeterStub) -> None:
    answer = say_hello(greeter, "world", ("x-tone", "rude"))
    assert answer == Answer([], grpc.StatusCode.PERMISSION_DENIED, "be polite")


def test_a_status_has_its_details(greeter: GreeterStub) -> None:
    answer = say_hello(greeter, "everybody")
    assert (answer.code, answer.details) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")
    code, message, (detail,) = answer.trailing[STATUS]
    assert (code, message) == (8, "enough")
    quota = error_details_pb2.QuotaFailure()
    assert detail.Unpack(quota)
    assert quota.violations[0].subject == "greetings"


def test_a_servicer_that_raises_has_the_status_that_it_had_set(greeter: GreeterStub) -> None:
    answer = say_hello(greeter, "trouble")
    answer.details = without_exception(answer.details) or "no greeting today"
    assert answer == Answer(
        [],
        grpc.StatusCode.FAILED_PRECONDITION,
        "no greeting today",
        trailing={"checksum-bin": b"\x00"},
    )


def test_initial_metadata_comes_too_late_after_a_response(greeter: GreeterStub) -> None:
    call = greeter.SayHelloStreamReply(HelloRequest(name="world"), timeout=TIMEOUT_S)
    answer = answer_of(call)
    assert [response.message for response in answer.responses] == [
        "Hello, world!",
        "Hallo, world!",
        "Bonjour, world!",
    ]
    assert (answer.initial, answer.trailing) == ({}, {"x-late": "yes"})


def test_responses_come_before_the_status(greeter: GreeterStub) -> None:
    call = greeter.SayHelloStreamReply(HelloRequest(name="stranger"), timeout=TIMEOUT_S)
    answer = answer_of(call)
    assert len(answer.responses) == 3
    assert (answer.code, answer.details) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "who goes there?",
    )


def test_a_method_without_an_implementation_is_unimplemented(greeter: GreeterStub) -> None:
    call = greeter.SayHelloBidiStream(iter([HelloRequest()]), timeout=TIMEOUT_S)
    answer = answer_of(call)
    answer.details = without_exception(answer.details) or "Method not implemented!"
    assert answer == Answer([], grpc.StatusCode.UNIMPLEMENTED, "Method not implemented!")


def test_a_feature_is_found_at_its_exact_place(guide: RouteGuideStub) -> None:
    assert guide.GetFeature(HERE, timeout=TIMEOUT_S) == FEATURES[0]
    assert guide.GetFeature(NOWHERE, timeout=TIMEOUT_S) == Feature(location=NOWHERE)
    call = guide.GetFeature.future(Point(latitude=91 * 10**7), timeout=TIMEOUT_S)
    expected = Answer([], grpc.StatusCode.OUT_OF_RANGE, "beyond the pole")
    assert answer_of(call, streams=False) == expected


def test_features_within_a_rectangle_are_listed(guide: RouteGuideStub) -> None:
    answer = answer_of(guide.ListFeatures(EVERYWHERE, timeout=TIMEOUT_S))
    assert answer == Answer(list(FEATURES), trailing={"x-found": "4"})
    empty = answer_of(guide.ListFeatures(Rectangle(), timeout=TIMEOUT_S))
    assert empty == Answer([], trailing={"x-found": "0"})


def test_a_route_is_recorded(guide: RouteGuideStub) -> None:
    route = [HERE, NOWHERE, THERE]
    summary = guide.RecordRoute(iter(route), timeout=TIMEOUT_S)
    assert (summary.point_count, summary.feature_count) == (3, 2)
    there_and_back = guide.RecordRoute(iter([HERE, THERE, HERE]), timeout=TIMEOUT_S)
    assert there_and_back.distance == pytest.approx(2 * 14_547, abs=2)
    assert guide.RecordRoute(iter(()), timeout=TIMEOUT_S) == RouteSummary()


def test_a_chat_gets_each_answer_before_the_next_note(guide: RouteGuideStub) -> None:
    notes: SimpleQueue[RouteNote | None] = SimpleQueue()
    call = guide.RouteChat(iter(notes.get, None), timeout=TIMEOUT_S)
    for message in ("first", "second"):
        notes.put(RouteNote(location=THERE, message=f"{message} there"))
        notes.put(RouteNote(location=HERE, message=message))
        if message == "second":
            assert [next(call).message for _ in range(2)] == ["first there", "first"]
    notes.put(RouteNote(location=HERE, message="third"))
    assert [next(call).message for _ in range(2)] == ["first", "second"]
    notes.put(None)
    assert answer_of(call) == Answer([], trailing={"x-notes": "5"})


def test_a_chat_may_end_in_a_status(guide: RouteGuideStub) -> None:
    notes = [RouteNote(location=HERE, message="one"), RouteNote(location=HERE)]
    answer = answer_of(guide.RouteChat(iter(notes), timeout=TIMEOUT_S))
    assert (answer.code, answer.details) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "a note has something to say",
    )
