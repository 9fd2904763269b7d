"""The cost of a call from the web: JSON over Connect, JSON by Envoy's transcoder, and plain gRPC.

One gateway and one worker serve all three in turn. The CPU is that of the gateway and, for the
transcoder, of Envoy, which runs on one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import descriptor_pb2

from bench import load, systems
from bench.cpu import cpu_ms
from bench.rounds import Figure, Goal, Series, interleave
from bench.saturated import grpc_load
from bench.stage import Stage
from forebay.compute.v1 import compute_pb2
from forebay.routes.descriptor_conflicts import with_dependencies
from tests.harness import environment, eventually, free_port, listens, process, short_folder
from tests.proxies import envoy_configuration, program

_CONNECT, _TRANSCODER, _GRPC = "JSON by Connect", "JSON by Envoy's transcoder", "gRPC"
_ROW = 29


@dataclass(frozen=True)
class Plan:
    """The number of rounds, the duration of a load, calls in flight."""

    rounds: int
    load_s: float
    in_flight: int


FULL = Plan(rounds=7, load_s=3.0, in_flight=32)
QUICK = Plan(rounds=1, load_s=0.5, in_flight=32)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """CPU of a call, and calls a second."""
    with systems.backend() as backend:
        options = ("--web-listen", "127.0.0.1:0")
        env = backend.product_env
        command = ("forebay", "gateway", "--listen", "127.0.0.1:0", *options)
        with (
            systems.celery_worker("forebay_workers", "add", env),
            process(*command, env=env) as gateway,
        ):
            address = gateway.wait_for(r"ready on (\S+)")[1]
            web = gateway.wait_for(r"serves browsers on http://(\S+)")[1]
            grpc_load(address, "ephemeral", 1, 0.1)  # waits for the worker
            with _transcoder(address) as (envoy, envoy_pid):
                pid = gateway.popen.pid
                found = interleave(
                    plan.rounds,
                    {
                        _CONNECT: _cost([pid], lambda: _http_load(web, plan)),
                        _TRANSCODER: _cost([pid, envoy_pid], lambda: _http_load(envoy, plan)),
                        _GRPC: _cost([pid], lambda: _grpc_load(address, plan)),
                    },
                )
    for part, title, unit, goal in (
        (0, "CPU of an Add from the web, saturated", "µs", Goal(0.4)),
        (1, "Add from the web, saturated", "calls/s", Goal(1, at_most=False)),
    ):
        series = {name: Series(name, tuple(one[part] for one in found[name])) for name in found}
        yield Figure(f"web_{part}", title, unit, series[_CONNECT], series[_TRANSCODER], goal, _ROW)
        yield Figure(f"web_grpc_{part}", title, unit, series[_CONNECT], series[_GRPC], row=_ROW)


def _cost(pids: list[int], make: Callable[[], load.Load]) -> Callable[[], tuple[float, float]]:
    """A function that makes a load; it returns the processes' µs of CPU a call, and the rate."""

    def cost() -> tuple[float, float]:
        before = cpu_ms(pids)
        made = make()
        return (cpu_ms(pids) - before) * 1000 / made.calls, made.rate

    return cost


def _http_load(address: str, plan: Plan) -> load.Load:
    words = (address, plan.in_flight)
    return load.run("bench.load.http1", *words, env=environment(), seconds=plan.load_s)


def _grpc_load(address: str, plan: Plan) -> load.Load:
    return grpc_load(address, "ephemeral", plan.in_flight, plan.load_s)


@contextmanager
def _transcoder(gateway: str) -> Iterator[tuple[str, int]]:
    """Runs an Envoy that converts JSON to gRPC; yields its address and process id."""
    port = free_port()
    with short_folder() as folder:
        file = folder / "envoy.json"
        file.write_text(envoy_configuration(port, [gateway], "HTTP1", [_filter(folder)]))
        command = (program("envoy"), "--use-dynamic-base-id", "--concurrency", "1", "-c", str(file))
        with process(*command, env=environment()) as running:
            eventually(lambda: listens(port), "Envoy listens")
            yield f"127.0.0.1:{port}", running.popen.pid


def _filter(folder: Path) -> dict[str, object]:
    """The configuration of a transcoder that serves ComputeService at gRPC's own paths."""
    descriptors = descriptor_pb2.FileDescriptorSet()
    for file in with_dependencies([compute_pb2.DESCRIPTOR]):
        proto = descriptors.file.add()
        file.CopyToProto(proto)
        for service in proto.service:
            for method in service.method:
                method.options.Clear()  # `auto_mapping` skips methods with `google.api.http`
    path = folder / "descriptors.binpb"
    path.write_bytes(descriptors.SerializeToString())
    kind = "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"
    return {
        "name": "transcoder",
        "typed_config": {
            "@type": f"type.googleapis.com/{kind}",
            "proto_descriptor": str(path),
            "services": ["forebay.compute.v1.ComputeService"],
            "auto_mapping": True,
            "print_options": {"always_print_primitive_fields": True},
        },
    }
