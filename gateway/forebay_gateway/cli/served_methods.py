"""The methods of a gateway and their workers, for `forebay routes` and `forebay doctor`.

The gateway that the command addresses is asked first: by reflection for the methods, by ListMethods
for the workers. What it does not tell comes from the settings and from the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

import grpc

from forebay.cli.connection import NoServer, Problem, server_at
from forebay.cli.ctrl_c import CancelOnCtrlC
from forebay.cli.gateway import Gateway
from forebay.cli.target import Target
from forebay.routes import Method
from forebay.rpc_errors import of_rpc_error
from forebay.v1.calls_pb2 import MethodProblemKind, ServedMethod
from forebay_backends.ledger.presence import WorkerPresence
from forebay_gateway.admin.operation_messages import served_method
from forebay_gateway.fleet.worker_problems import Consumers, consumers_of


@dataclass(frozen=True)
class Answers:
    """The answers of a gateway.

    `described` are the methods that reflection has, an empty route where their option has none.
    `served` are those that the gateway serves, with their workers. Both are None if the gateway
    does not tell; `problem` is the reason. If no gateway answers, `unreachable` has the reason of
    each address.
    """

    described: Sequence[Method] | None = None
    served: Sequence[ServedMethod] | None = None
    problem: str = ""
    unreachable: Mapping[str, Problem] = field(default_factory=dict)


def ask(target: Target) -> Answers:
    """Asks the first gateway of `--target` that answers."""
    try:
        with CancelOnCtrlC() as ctrl_c, server_at(target, ctrl_c) as server:
            gateway = Gateway(server, ctrl_c)
            described = None
            try:
                described = gateway.described_methods()
                return Answers(described, gateway.served_methods())
            except grpc.RpcError as error:
                return Answers(described, problem=f"{server.target}: {of_rpc_error(error)}")
    except NoServer as error:
        return Answers(problem=error.problem, unreachable=error.problems)


def routed_methods(
    answers: Answers, of_settings: Callable[[], Sequence[Method]]
) -> Sequence[Method]:
    """The methods of the gateway with their routes; those of the settings if it told none.

    Routes that are not in a method's option are looked up in the settings.
    """
    routed = {one.name: one for one in answers.described or () if one.route.task}
    if answers.served is None:
        return list(routed.values()) or of_settings()
    names = {method.name for method in answers.served}
    if names - routed.keys():
        routed = {one.name: one for one in of_settings()} | routed
    return [routed[name] for name in sorted(names & routed.keys())]


def served_methods(
    methods: Sequence[Method],
    workers: Sequence[WorkerPresence] | None,
    plain: Mapping[str, Consumers],
) -> list[ServedMethod]:
    """The methods with their live workers.

    `workers` are those in the ledger; None: it does not answer. `plain` has the workers of plain
    methods by name, without those whose broker does not answer.
    """
    return [_served_method(method, workers, plain) for method in methods]


def _served_method(
    method: Method, workers: Sequence[WorkerPresence] | None, plain: Mapping[str, Consumers]
) -> ServedMethod:
    if method.name in plain:
        return served_method(plain[method.name])
    if workers is not None and not method.is_plain:
        return served_method(consumers_of(method, workers, version("forebay")))
    backend = "broker" if method.is_plain else "ledger"
    served = served_method(Consumers(method, (), 0, ()))
    served.problems.add(description=f"the {backend} does not answer", fix=f"fix the {backend}")
    return served


def is_known(method: ServedMethod) -> bool:
    """Whether its workers are known."""
    kinds = [problem.kind for problem in method.problems]
    return MethodProblemKind.METHOD_PROBLEM_KIND_UNSPECIFIED not in kinds
