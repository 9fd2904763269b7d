"""Which workers of an existing application can run a plain task, and why others can't. Pure.

The workers know nothing of Forebay; this module compares their answers to Celery's `inspect`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from forebay.routes import Method
from forebay_backends.settings import CeleryApplication
from forebay_gateway.fleet.result_backends import DISABLED, Match, compared, shown_backend
from forebay_gateway.fleet.worker_problems import Consumers, Problem, ProblemKind

_JSON = frozenset({"json", "application/json"})
_MAX_NAMED = 3
_LIKENESS = 0.8  # difflib's ratio for a word with one wrong letter


@dataclass(frozen=True)
class PlainWorker:
    """A worker of an existing application.

    `worker` is its name, such as celery@host. `result_backend` is empty if it is unknown.
    """

    worker: str
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    slots: int
    result_backend: str = ""
    accept_content: tuple[str, ...] = ("json",)
    result_serializer: str = "json"


def plain_consumers_of(
    method: Method, workers: Iterable[PlainWorker], application: CeleryApplication
) -> Consumers:
    """Compares a plain method with the live workers of its application."""
    consuming = [worker for worker in workers if method.route.queue in worker.queues]
    able = [worker for worker in consuming if method.route.task in worker.tasks]
    problems = [
        *_absent(method, consuming, able, workers, application),
        *_other_results(consuming, application),
        *_other_formats(consuming),
    ]
    return Consumers(
        method,
        tuple(worker.worker for worker in able),
        sum(worker.slots for worker in able),
        tuple(problems),
    )


def _absent(
    method: Method,
    consuming: Sequence[PlainWorker],
    able: Sequence[PlainWorker],
    workers: Iterable[PlainWorker],
    application: CeleryApplication,
) -> Iterable[Problem]:
    task, queue = method.route.task, method.route.queue
    unable = [worker for worker in consuming if worker not in able]
    if not consuming:
        queues = sorted({name for worker in workers for name in worker.queues})
        known = f" (live workers consume {_listed(queues)})" if queues else ""
        yield Problem(
            ProblemKind.NO_CONSUMER,
            (),
            f"no worker that answers Celery's inspect consumes queue {queue!r}{known}",
            f"correct the route's queue, or start `celery -A APP worker -Q {queue}` of the "
            f"application on the broker of {application.setting('broker_url')}",
        )
    elif unable:
        verb = "consumes" if len(unable) == 1 else "consume"
        known = "" if able else _similar(task, unable)
        yield Problem(
            ProblemKind.TASK_UNREGISTERED_BY_SOME if able else ProblemKind.TASK_UNREGISTERED,
            tuple(worker.worker for worker in unable),
            f"{_names(unable)} {verb} queue {queue!r} without task {task!r}{known}",
            "correct the route's task, or start the workers with an application that registers it",
        )


def _other_results(
    consuming: Sequence[PlainWorker], application: CeleryApplication
) -> Iterable[Problem]:
    by_backend: dict[str, list[PlainWorker]] = {}
    for worker in consuming:
        if worker.result_backend:
            by_backend.setdefault(worker.result_backend, []).append(worker)
    for backend, having in by_backend.items():
        match = compared(backend, application.result_url)
        if match is not Match.SAME:
            yield _other_result_backend(match, backend, having, application)


def _other_result_backend(
    match: Match, backend: str, having: Sequence[PlainWorker], application: CeleryApplication
) -> Problem:
    names = tuple(worker.worker for worker in having)
    theirs, ours = shown_backend(backend), shown_backend(application.result_url)
    setting = application.setting("result_url")
    if backend == DISABLED:
        return Problem(
            ProblemKind.OTHER_RESULT_BACKEND,
            names,
            f"{_names(having)}: no result backend, so that no result arrives",
            "set result_backend in the application, `rpc://` for example, and restart its workers",
        )
    where = "another place of the same kind" if theirs == ours else theirs
    verb = "keeps" if len(having) == 1 else "keep"
    reads = f"this gateway reads {ours} ({setting})"
    if match is Match.UNSURE:
        return Problem(
            ProblemKind.UNSURE_RESULT_BACKEND,
            names,
            f"{_names(having)} {verb} results in {where}; {reads}. Are both names of one server?",
            f"if not, set {setting} to the application's result_backend",
        )
    return Problem(
        ProblemKind.OTHER_RESULT_BACKEND,
        names,
        f"{_names(having)} {verb} results in {where}; {reads}, where none arrives",
        f"set {setting} to the application's result_backend, {where}",
    )


def _other_formats(consuming: Sequence[PlainWorker]) -> Iterable[Problem]:
    without_json = [
        worker
        for worker in consuming
        if worker.result_serializer not in _JSON or not _JSON & set(worker.accept_content)
    ]
    if without_json:
        yield Problem(
            ProblemKind.NOT_JSON,
            tuple(worker.worker for worker in without_json),
            f"{_names(without_json)}: accept_content without json, or another result_serializer",
            "add json to accept_content and set result_serializer to json in the application",
        )


def _similar(task: str, workers: Sequence[PlainWorker]) -> str:
    """Names registered tasks like `task`; a few of all tasks if none is like it."""
    own = sorted(
        {name for worker in workers for name in worker.tasks if not name.startswith("celery.")}
    )
    last = task.rpartition(".")[2]
    alike = [name for name in own if name.rpartition(".")[2] == last]
    found = alike or get_close_matches(task, own, _MAX_NAMED, _LIKENESS)
    if found:
        return f" (did you mean {_listed(found)}?)"
    return f" (registered are {_listed(own)})" if own else " (they have no tasks of their own)"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_MAX_NAMED]))
    more = len(names) - _MAX_NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def _names(workers: Sequence[PlainWorker]) -> str:
    return ", ".join(sorted(worker.worker for worker in workers))
