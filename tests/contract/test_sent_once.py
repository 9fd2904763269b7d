"""The message of a call that may not run again is sent once, whatever happens to the answer."""

from __future__ import annotations

import json

import grpc

from forebay.rpc_errors import of_rpc_error
from forebay_backends.urls import backends
from tests.contract.lossy import lossy_link
from tests.contract.systems import take_messages
from tests.harness import environment, forebay_gateway
from tests.servicers import helloworld_pb2
from tests.servicers.helloworld_pb2_grpc import GreeterStub

TIMEOUT_S = 20.0
GREETER = helloworld_pb2.DESCRIPTOR.services_by_name["Greeter"]


def test_an_ephemeral_call_is_sent_once_though_the_brokers_answer_was_lost(
    redis_url: str,
) -> None:
    """The client of Redis repeats a command whose connection broke, and SayHello may not repeat."""
    assert not GREETER.methods_by_name["SayHello"].GetOptions().idempotency_level
    url = f"{redis_url}7"
    with lossy_link(url) as link:
        env = environment(
            FOREBAY_LEDGER_URL=link.url,
            FOREBAY_SERVICES=json.dumps([helloworld_pb2.__name__]),
            FOREBAY_QUEUE_WAIT_S="0.5",
        )
        with forebay_gateway(env=env) as (_, address), grpc.insecure_channel(address) as channel:
            link.lose_answer_with((b"greeter.say_hello",))
            request = helloworld_pb2.HelloRequest(name="you")
            error = GreeterStub(channel).SayHello.future(request, timeout=TIMEOUT_S).exception()
            assert link.lost.is_set()
    assert isinstance(error, grpc.RpcError)
    assert of_rpc_error(error).reason == "NO_WORKERS"
    assert len(take_messages(backends(url, None), "greeter")) == 1
