"""Which live workers can run a method, and why others can't. Pure.

A worker's presence lists the queues that it consumes, the tasks that it has registered and, for
tasks of Forebay, the method and the fingerprint of its messages. The gateway compares these with
its routes: if they don't match, calls wait or fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from forebay.routes import Method
from forebay.routes.fingerprints import same_kind
from forebay_backends.ledger.presence import WorkerPresence


class ProblemKind(StrEnum):
    """The values of `forebay.v1.MethodProblemKind`, without their prefix."""

    NO_CONSUMER = "NO_CONSUMER"
    TASK_UNREGISTERED = "TASK_UNREGISTERED"
    TASK_UNREGISTERED_BY_SOME = "TASK_UNREGISTERED_BY_SOME"
    OTHER_MESSAGES = "OTHER_MESSAGES"
    OTHER_VERSION = "OTHER_VERSION"
    OTHER_RESULT_BACKEND = "OTHER_RESULT_BACKEND"
    UNSURE_RESULT_BACKEND = "UNSURE_RESULT_BACKEND"
    NOT_JSON = "NOT_JSON"


@dataclass(frozen=True)
class Problem:
    """A problem of a method; `workers` are the nodes that have it."""

    kind: ProblemKind
    workers: tuple[str, ...]
    description: str
    fix: str


@dataclass(frozen=True)
class Consumers:
    """The live workers that can run a method's calls, the sum of their slots, and the problems."""

    method: Method
    workers: tuple[str, ...]
    slots: int
    problems: tuple[Problem, ...]

    @property
    def is_broken(self) -> bool:
        """Whether there is a problem that is certain, unlike `UNSURE_RESULT_BACKEND`."""
        return any(
            problem.kind is not ProblemKind.UNSURE_RESULT_BACKEND for problem in self.problems
        )


def consumers_of(method: Method, workers: Iterable[WorkerPresence], version: str) -> Consumers:
    """Compares the method with the live `workers`; `version` is the gateway's version of Forebay.

    The workers of plain tasks announce no presence: see `plain_workers.plain_consumers_of`.
    """
    if method.is_plain:
        return Consumers(method, (), 0, ())
    route = method.route
    consuming = [worker for worker in workers if route.queue in worker.queues]
    able = [worker for worker in consuming if _runs(worker, method)]
    return Consumers(
        method,
        tuple(map(node_of, able)),
        sum(worker.slots for worker in able),
        tuple(_problems(method, consuming, able, version)),
    )


def node_of(worker: WorkerPresence) -> str:
    """Celery's name of the worker, such as celery@host, which a restart does not change."""
    return worker.worker.rpartition(".")[0] or worker.worker


def start_worker(queue: str) -> str:
    """The command that starts a worker of the queue."""
    return f"celery -A APP worker -Q {queue} -n {queue}@%h (APP: yours, or forebay_workers)"


def _runs(worker: WorkerPresence, method: Method) -> bool:
    """Whether the worker has the method's task and, if it announced a method for it, this one."""
    name, fingerprint = worker.serves.get(method.route.task, (method.name, method.fingerprint))
    return (
        method.route.task in worker.tasks
        and name == method.name
        and same_kind(fingerprint, method.fingerprint)
    )


def _problems(
    method: Method,
    consuming: Sequence[WorkerPresence],
    able: Sequence[WorkerPresence],
    version: str,
) -> Iterable[Problem]:
    task, queue = method.route.task, method.route.queue
    unable = [worker for worker in consuming if worker not in able]
    if not consuming:
        yield Problem(
            ProblemKind.NO_CONSUMER,
            (),
            f"no live worker consumes queue {queue!r}",
            start_worker(queue),
        )
    elif unable:
        verb = "consumes" if len(unable) == 1 else "consume"
        yield Problem(
            ProblemKind.TASK_UNREGISTERED_BY_SOME if able else ProblemKind.TASK_UNREGISTERED,
            tuple(map(node_of, unable)),
            f"{_names(unable)} {verb} queue {queue!r} without task {task!r} of this method",
            "restart them with an application that registers it, or give the method "
            "a queue that they don't consume",
        )
    other_messages = [
        worker
        for worker in able
        if worker.serves.get(task, ("", method.fingerprint))[1] != method.fingerprint
    ]
    if other_messages:
        yield Problem(
            ProblemKind.OTHER_MESSAGES,
            tuple(map(node_of, other_messages)),
            f"{_names(other_messages)} and this gateway have different versions of its messages",
            "bring both up to date: workers first if fields are added",
        )
    other_versions = [worker for worker in able if worker.version != version]
    if other_versions:
        theirs = ", ".join(sorted({worker.version for worker in other_versions}))
        yield Problem(
            ProblemKind.OTHER_VERSION,
            tuple(map(node_of, other_versions)),
            f"{_names(other_versions)}: Forebay {theirs}, this gateway: {version}",
            "install one version on both",
        )


def _names(workers: Sequence[WorkerPresence]) -> str:
    return ", ".join(sorted(map(node_of, workers)))
