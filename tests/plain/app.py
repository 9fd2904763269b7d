"""A Celery application that does not use Forebay, with tasks that succeed and tasks that fail.

`celery -A tests.plain.app worker -Q plain` runs it.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task, chain, chord, group
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

app = Celery("plain")
app.conf.update(
    broker_url=os.environ["PLAIN_BROKER_URL"],
    result_backend=os.environ["PLAIN_RESULT_BACKEND"],
    result_persistent=True,
    broker_connection_retry_on_startup=True,
    task_default_queue="plain",
    task_routes={"plain.*": {"queue": "plain"}},
    task_default_queue_type=os.environ.get("PLAIN_QUEUE_TYPE", "classic"),
    worker_prefetch_multiplier=1,
)
if "PLAIN_KEY_PREFIX" in os.environ:
    _prefixed = {"global_keyprefix": os.environ["PLAIN_KEY_PREFIX"]}
    app.conf.update(broker_transport_options=_prefixed, result_backend_transport_options=_prefixed)


class NoSuchOrder(Exception):
    """An order that is not there."""


class NoSuchShelf(Exception):
    """Its constructor does not take its `args`, so it can't be unpickled."""

    def __init__(self, order: int, shelf: str) -> None:
        super().__init__(f"no order {order} on {shelf}")


class NoSuchParcel(NoSuchOrder):
    """It can't be pickled, so Celery reports its base."""

    def __init__(self, order: int) -> None:
        super().__init__(f"no order {order}")
        self.lock = threading.Lock()


class Shelf:
    """Has exceptions of its own, as the models of Django have."""

    class Full(Exception):
        """Named by its last part in the route."""

    class Locked(Exception):
        """It can't be pickled."""

        def __init__(self) -> None:
            super().__init__("locked")
            self.lock = threading.Lock()


@app.task(name="plain.add")
def add(x: int, y: int = 1) -> int:
    return x + y


@app.task(name="plain.subtract")
def subtract(minuend: int, subtrahend: int) -> int:
    return minuend - subtrahend


@app.task(name="plain.echo")
def echo(**kwargs: Any) -> dict[str, Any]:
    return kwargs


@app.task(name="plain.do", bind=True, max_retries=1, acks_late=True, time_limit=25)
def do(self: Task[Any, Any], what: str, **kwargs: Any) -> Any:
    return globals()[f"_{what}"](self, kwargs.get("with"))


do_limited = app.task(
    do.run.__func__, name="plain.do_limited", bind=True, soft_time_limit=0.5, time_limit=1.5
)


do_rarely = app.task(do.run.__func__, name="plain.do_rarely", bind=True, rate_limit="6/m")


def _sleep_until_soft_limit(_: Task[Any, Any], __: Any) -> str:
    try:
        time.sleep(20)
    except SoftTimeLimitExceeded:
        return "stopped"
    return "slept"


def _sleep_past_soft_limit(*arguments: Any) -> None:
    _sleep_until_soft_limit(*arguments)
    time.sleep(20)


def _answer(_: Task[Any, Any], value: Any) -> Any:
    return value


def _evaluate(_: Task[Any, Any], expression: str) -> Any:
    return eval(expression)  # noqa: S307


def _raise(_: Task[Any, Any], expression: str) -> None:
    raise eval(expression)  # noqa: S307


def _touch_then_sleep(self: Task[Any, Any], value: dict[str, Any]) -> None:
    """Creates a file with the task's id when it begins, and another when it ends."""
    begun = Path(value["begun"])
    begun.with_suffix(".new").write_text(str(self.request.id))
    begun.with_suffix(".new").rename(begun)
    time.sleep(value["seconds"])
    Path(value["ended"]).touch()


def _steps(self: Task[Any, Any], total: float) -> list[str]:
    for done in range(int(total)):
        self.update_state(state="PROGRESS", meta={"done": done, "total": int(total)})
        time.sleep(0.05)
    return [f"step {done}" for done in range(int(total))]


def _odd_steps(self: Task[Any, Any], _: Any) -> list[str]:
    self.update_state(state="PROGRESS", meta={"done": "many"})
    return ["done"]


def _retry_once(self: Task[Any, Any], _: Any) -> int:
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    return self.request.retries


def _retry_later(self: Task[Any, Any], countdown: float) -> int:
    if self.request.retries == 0:
        raise self.retry(countdown=countdown)
    return self.request.retries


def _retry_always(self: Task[Any, Any], _: Any) -> None:
    raise self.retry(countdown=0)


def _ignore(_: Task[Any, Any], __: Any) -> None:
    raise Ignore


def _reject(_: Task[Any, Any], __: Any) -> None:
    raise Reject("no", requeue=False)


def _die(_: Task[Any, Any], __: Any) -> None:
    os._exit(1)


def _header(self: Task[Any, Any], name: str) -> Any:
    return self.request.get(name)


def _eta(self: Task[Any, Any], _: Any) -> dict[str, Any]:
    """When the task was to start, and the time now."""
    return {"eta": self.request.eta, "began": time.time()}


def _limits(self: Task[Any, Any], _: Any) -> Any:
    return [self.request.timelimit, bool(self.request.expires), self.request.delivery_info]


def _replace_by_chain(self: Task[Any, Any], _: Any) -> None:
    raise self.replace(chain(add.s(1, 2), add.s(3)))


def _replace_by_failing_chain(self: Task[Any, Any], _: Any) -> None:
    failing = do.si("raise", **{"with": "PermissionError('no')"})
    raise self.replace(chain(add.s(1, 2), failing, add.s(3)))


def _replace_by_group(self: Task[Any, Any], _: Any) -> None:
    raise self.replace(group(add.s(1, 2), add.s(3, 4)))


def _replace_by_chord(self: Task[Any, Any], _: Any) -> None:
    raise self.replace(chord([add.s(1, 2), add.s(3, 4)], total.s()))


@app.task(name="plain.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="plain.no_result", ignore_result=True)
def no_result() -> int:
    return 1
