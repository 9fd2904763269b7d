"""What live workers mean for a method: who consumes its queue, and what keeps them from it. Pure.

A gateway knows routes; workers say in their presence which queues they consume, which tasks
they have registered and, of tasks of ours, the method and the version of its messages. Where
the two don't fit, calls would wait, or fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from forebay.routes import Method
from forebay.routes.fingerprints import same_kind
from forebay_backends.ledger.presence import WorkerPresence


class ProblemKind(StrEnum):
    """What may be wrong; the names are those of `forebay.v1.MethodProblemKind`."""

    NO_CONSUMER = "NO_CONSUMER"
    TASK_UNREGISTERED = "TASK_UNREGISTERED"
    TASK_UNREGISTERED_BY_SOME = "TASK_UNREGISTERED_BY_SOME"
    OTHER_MESSAGES = "OTHER_MESSAGES"
    OTHER_VERSION = "OTHER_VERSION"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a method's workers: which, how it is, how to mend it."""

    trouble: ProblemKind
    workers: tuple[str, ...]
    description: str
    fix: str


@dataclass(frozen=True)
class Consumers:
    """The live workers that run a method's calls, their slots in all, and what is wrong."""

    method: Method
    workers: tuple[str, ...]
    slots: int
    problems: tuple[Problem, ...]


def consumers_of(method: Method, workers: Iterable[WorkerPresence], version: str) -> Consumers:
    """What the live `workers` mean for the method; `version` is this Forebay's.

    Workers of plain tasks are not known: they say nothing of themselves.
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
    """Celery's name of the worker, such as celery@host: it stays when the worker is restarted."""
    return worker.worker.rpartition(".")[0] or worker.worker


def start_worker(queue: str) -> str:
    """How a worker of the queue is started."""
    return f"celery -A APP worker -Q {queue} -n {queue}@%h (APP: yours, or forebay_workers)"


def _runs(worker: WorkerPresence, method: Method) -> bool:
    """Whether the worker has the method's task, for this method as far as it says."""
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
        who = _names(unable)
        does = "consumes" if len(unable) == 1 else "consume"
        yield Problem(
            ProblemKind.TASK_UNREGISTERED_BY_SOME if able else ProblemKind.TASK_UNREGISTERED,
            tuple(map(node_of, unable)),
            f"{who} {does} queue {queue!r} without task {task!r} of this method",
            "restart them with an application that registers it, or give the method "
            "a queue that they don't consume",
        )
    others = [
        worker
        for worker in able
        if worker.serves.get(task, ("", method.fingerprint))[1] != method.fingerprint
    ]
    if others:
        yield Problem(
            ProblemKind.OTHER_MESSAGES,
            tuple(map(node_of, others)),
            f"{_names(others)} and this gateway have different versions of its messages",
            "bring both up to date: workers first where fields are added",
        )
    strangers = [worker for worker in able if worker.version != version]
    if strangers:
        theirs = ", ".join(sorted({worker.version for worker in strangers}))
        yield Problem(
            ProblemKind.OTHER_VERSION,
            tuple(map(node_of, strangers)),
            f"{_names(strangers)}: Forebay {theirs}, this gateway: {version}",
            "install one version on both",
        )


def _names(workers: Sequence[WorkerPresence]) -> str:
    return ", ".join(sorted(map(node_of, workers)))
