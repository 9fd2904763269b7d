"""The methods of a gateway and their workers, for `forebay routes` and `forebay doctor`.

The commands first ask the gateway at `--target`: by reflection for the methods, by ListMethods for
their workers. The settings and the ledger supply what the gateway does not report.
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

    `described` are the methods that reflection shows; the route of a method without a route option
    is empty. `served` are the methods that the gateway serves, with their workers. Each is None if
    the gateway does not report it; `problem` is the reason. If no gateway answers, `unreachable`
    has the reason for each address.
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
    """The gateway's methods with their routes, or those of the settings if it reports none.

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

    `workers` are the ledger's, or None if it does not answer. `plain` has the workers of each plain
    method by its name, except for methods whose broker does not answer.
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
    """Whether the method's workers are known."""
    kinds = [problem.kind for problem in method.problems]
    return MethodProblemKind.METHOD_PROBLEM_KIND_UNSPECIFIED not in kinds
