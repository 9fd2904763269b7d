"""Random and mutated bytes as messages, metadata, frames, queue messages and records."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from forebay.v1 import call_pb2
from forebay_backends.broker.task_messages import batch_message, call_message, redis_push
from forebay_backends.ledger.keys import CallKey
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.faults.fuzzed import Fuzzed, ended, fuzzed_system
from tests.faults.mutations import messages, mutated, served_methods
from tests.harness import eventually

ECHO = "/tests.echo.v1.EchoService"
# Not shrunk: that takes longer than a test may. A failure prints its example and seed.
FUZZ = settings(
    max_examples=150,
    deadline=None,
    database=None,
    print_blob=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
VALUES = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200),
    st.integers().map(str),
    st.sampled_from(["", "0", "1", "detach", "cancel", "9" * 15, "x", "²", "0x1", "1e3", "None"]),
).map(lambda text: text.encode("ascii", "replace").decode())
KEYS = st.sampled_from(
    [
        *["forebay-call-id", "forebay-resume-from", "forebay-on-disconnect", "forebay-priority"],
        *["forebay-attached", "forebay-x", "traceparent", "tracestate", "x-wish", "authorization"],
        *["forebay-call-id-bin", "x-bin", "x-grpc-test-echo-trailing-bin", "grpc-trace-bin"],
    ]
)
METADATA = st.lists(st.tuples(KEYS, VALUES), max_size=6).map(
    lambda pairs: tuple((k, v.encode() if k.endswith("-bin") else v) for k, v in pairs)
)


@pytest.fixture(scope="module")
def system() -> Iterator[Fuzzed]:
    with fuzzed_system() as running:
        yield running


def test_every_method_answers_any_bytes_with_a_proper_status(system: Fuzzed) -> None:
    methods = dict(served_methods(system.channel))
    assert len(methods) >= 12
    codes = set()

    @FUZZ
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(methods)))
        valid = messages(methods[path]).map(lambda message: bytes(message.SerializeToString()))
        request = st.one_of(valid, mutated(valid), st.binary(max_size=64))
        requests = data.draw(st.lists(request, max_size=3))
        codes.add(system.ending(path, requests, timeout=0.3))

    with system.unharmed():
        holds()
    assert {"OK", "INVALID_ARGUMENT"} <= codes
    assert "Traceback" not in system.gateway.output


def test_any_metadata_gets_a_proper_status(system: Fuzzed) -> None:
    codes = set()

    @FUZZ
    @given(method=st.sampled_from(["Unary", "Quick", "ServerStream", "Bidi"]), metadata=METADATA)
    def holds(method: str, metadata: Any) -> None:
        request = EchoRequest(text="x", count=1).SerializeToString()
        codes.add(system.ending(f"{ECHO}/{method}", [request], metadata))

    with system.unharmed():
        holds()
    assert {"OK", "INVALID_ARGUMENT"} <= codes
    assert "Traceback" not in system.gateway.output


@pytest.mark.parametrize(
    "metadata",
    [
        tuple((f"x-{number}", "y") for number in range(3000)),
        (("x-long", "y" * 100_000),),
        (("forebay-call-id", "y" * 100_000),),
        (("x-wish", "y" * 100_000),),
        (("x-bin", bytes(100_000)),),
    ],
    ids=["thousands of keys", "100 KB", "a long id", "a long value that is kept", "long bytes"],
)
def test_oversize_metadata_is_refused(system: Fuzzed, metadata: Any) -> None:
    """By gRPC itself, before it reaches the gateway, so without details."""
    call = system.channel.unary_unary(f"{ECHO}/Unary")
    with system.unharmed():
        for _ in range(5):
            error = call.future(b"", timeout=10, metadata=metadata).exception()
            assert error.code().name in ("RESOURCE_EXHAUSTED", "INTERNAL", "UNAVAILABLE"), error
            assert "Traceback" not in (error.details() or "")


def test_invalid_frames_of_a_watched_call_stop_nothing_else(system: Fuzzed) -> None:
    (channel,) = system.server.pubsub_channels("forebay:gateway:*")
    words = st.sampled_from(
        [
            *[b"item", b"stored", b"transient", b"initial_metadata", b"window_open", b"end"],
            *[b"reply", b"heartbeat"],
        ]
    )
    numbers = st.integers(-5, 1 << 70).map(lambda number: str(number).encode())
    codes = set()
    state = st.sampled_from([b"SUCCEEDED", b"FAILED", b"RUNNING", b"GONE", b"-"])
    frames = st.tuples(words, st.lists(st.one_of(numbers, state), max_size=7), st.binary())

    @settings(FUZZ, max_examples=30)
    @given(chosen=st.lists(frames, min_size=1, max_size=4), garbled=st.binary(max_size=40))
    def holds(chosen: Any, garbled: bytes) -> None:
        name = f"framed-{uuid.uuid4()}"
        call = EchoServiceStub(system.channel).ServerStream(
            EchoRequest(act="sleep", seconds=0.05, count=1, text="x"),
            timeout=2,
            metadata=(("forebay-call-id", name),),
        )
        call.initial_metadata()
        for word, arguments, payload in chosen:
            head = b" ".join([word, f"/{name}".encode(), *arguments])
            system.server.publish(channel, head + b"\n" + payload)
        system.server.publish(channel, garbled)
        codes.add(ended(call))

    with system.unharmed():
        holds()
    assert "OK" in codes


def test_no_control_frame_stops_a_worker(system: Fuzzed) -> None:
    words = st.sampled_from([b"credit", b"requests", b"stop", b"caller_gone", b"", b"\xff"])
    rest = st.lists(
        st.sampled_from([b"/x", b"/", b"1", b"-1", b"RUNNING", b"GONE", b"9" * 30]), max_size=4
    )

    @FUZZ
    @given(word=words, arguments=rest, garbled=st.binary(max_size=30))
    def holds(word: bytes, arguments: list[bytes], garbled: bytes) -> None:
        for channel in system.server.pubsub_channels("forebay:control:*"):
            system.server.publish(channel, b" ".join([word, *arguments]))
            system.server.publish(channel, garbled)

    with system.unharmed():
        holds()


def test_no_task_message_stops_a_worker(system: Fuzzed) -> None:
    batch = call_pb2.Batch(members=[call_pb2.BatchMember(call_id="x", begin_by_ms=1 << 60)])
    bodies = mutated(st.just(batch.SerializeToString()), most=5)

    @settings(FUZZ, max_examples=60)
    @given(garbled=bodies, call_id=st.sampled_from(["x", "-", "x" * 128]), attempt=st.integers())
    def holds(garbled: bytes, call_id: str, attempt: int) -> None:
        task = {"task": "echo.quick", "queue": "echo", "priority": 0}
        for sent in (
            batch_message("x", garbled, **task),  # type: ignore[arg-type]
            call_message(CallKey(call_id), attempt, **task),  # type: ignore[arg-type]
        ):
            push = redis_push(sent)
            system.server.lpush(push.queue_list, push.message)

    with system.unharmed():
        holds()


GARBLED: list[tuple[str, Any]] = [
    *[("state", "GONE"), ("state", ""), ("method", "x"), ("digest", ""), ("attempt", "x")],
    *[
        ("outcome", b"\xff\xff"),
        ("initial_metadata", b"\xff\xff"),
        ("item_count", "-1"),
        ("item_count", "x"),
    ],
    *[
        ("item_bytes", "x"),
        ("window_bytes", "x"),
        ("item_limit_bytes", ""),
        ("trimmed_items", "9" * 40),
        ("reason", ""),
    ],
    *[("queued_at", "x"), ("finished_at", "-1"), ("item_count", "7")],
]


@pytest.mark.parametrize(("field", "value"), GARBLED)
def test_an_invalid_record_affects_its_own_call_only(
    system: Fuzzed, field: str, value: str | bytes
) -> None:
    name = f"garbled-{uuid.uuid4()}"
    call, metadata = CallKey(name), (("forebay-call-id", name),)
    request = EchoRequest(text="x", count=2).SerializeToString()
    with system.unharmed():
        assert system.ending(f"{ECHO}/ServerStream", [request], metadata, timeout=30) == "OK"
        system.server.hset(f"{call.partition}:call:{call}", field, value)
        responses = system.channel.unary_stream(f"{ECHO}/ServerStream")(
            request, timeout=3, metadata=metadata
        )
        assert ended(responses) in (
            *("OK", "INTERNAL", "DATA_LOSS", "ALREADY_EXISTS", "DEADLINE_EXCEEDED"),
            "NOT_FOUND",  # a state that this version does not know
        )
    system.server.delete(f"{call.partition}:call:{call}")


@pytest.mark.parametrize("kind", ["call", "items"])
def test_a_key_of_another_type_affects_its_own_call_only(system: Fuzzed, kind: str) -> None:
    name = f"mistyped-{uuid.uuid4()}"
    call, metadata = CallKey(name), (("forebay-call-id", name),)
    key = f"{call.partition}:{kind}:{call}"
    system.server.set(key, "garbage")
    with system.unharmed():
        responses = system.channel.unary_stream(f"{ECHO}/ServerStream")(
            EchoRequest(text="x", count=1).SerializeToString(), timeout=3, metadata=metadata
        )
        assert ended(responses) in ("INTERNAL", "DEADLINE_EXCEEDED")
    system.server.delete(key)


def test_garbage_in_the_indexes_does_not_stop_the_sweeping(system: Fuzzed) -> None:
    """Other due calls still end."""
    metadata = (("forebay-call-id", f"due-{uuid.uuid4()}"),)
    call = CallKey(metadata[0][1])
    with system.unharmed():
        garbage = {"/gone": 1, "no slash": 1, b"\xff": 1}
        for index in ("due", "done", "calls", "waiting:echo"):
            system.server.zadd(f"{call.partition}:{index}", garbage)
        request = EchoRequest(act="sleep", seconds=60, count=1).SerializeToString()
        path = f"{ECHO}/ServerStream"
        assert system.ending(path, [request], metadata, timeout=0.3) == "DEADLINE_EXCEEDED"

        def expired() -> bool:
            state = system.server.hget(f"{call.partition}:call:{call}", "state")
            return state in (b"EXPIRED", b"CANCELLED")

        eventually(expired, "the call's end")
