"""The exception that a task raised, as Celery's result describes it. Pure.

Celery stores an exception's class, module and arguments. If the exception can't be pickled, because
its constructor takes other arguments than `args`, it stores the nearest base class that can be
or, if there is none, a wrapper with the names of module and class
(`celery.utils.serialization.get_pickleable_exception`).
"""

from __future__ import annotations

import builtins
import re
from dataclasses import dataclass
from typing import Any

from forebay.routes.plain import ExceptionStatus

_WRAPPER = ("celery.utils.serialization", "UnpickleableExceptionWrapper")

# CPython's messages for a call that does not fit a function's signature.
_SIGNATURE = re.compile(
    r"\(\) (got an unexpected keyword argument|got multiple values for argument|missing \d+ "
    r"required|takes .* but \d+ .*given|got some positional-only)|takes no (keyword )?arguments"
)
# Celery's files between the worker's loop and a task's own code.
_CELERY_FRAME = re.compile(
    r"[\\/]celery[\\/](app[\\/](trace|task|autoretry|base)|utils[\\/]serialization)\.py$"
)
_FRAME = re.compile(r'^ *File "(.*?)", line \d+', re.MULTILINE)
# Lines between the tracebacks of chained exceptions; the last traceback is that of the one raised.
_CHAINED = re.compile(
    r"^(?:During handling of the above exception, another exception occurred"
    r"|The above exception was the direct cause of the following exception):$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Raised:
    """An exception; `name` is the class's qualified name, or the last part if Celery wraps it.

    `traceback` is the text that the worker stored; empty if it stored none.
    """

    module: str
    name: str
    message: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.module}.{self.name}".strip(".")

    def is_mapped_by(self, mapping: ExceptionStatus) -> bool:
        """Whether the mapping names the class or, if it is built in, one of its base classes."""
        return mapping.fits(self.name, self.module) or any(
            mapping.fits(base, self.module) for base in self._builtin_bases
        )

    @property
    def is_argument_mismatch(self) -> bool:
        """Whether the task's arguments did not fit its signature, so that its code has not run.

        A call in the task's code may raise the same message, even from Celery (`apply_async` checks
        arguments); then a frame of the task is in the traceback. Frames of an exception that was
        being handled meanwhile do not count.
        """
        frames = _FRAME.findall(_CHAINED.split(self.traceback)[-1])
        return (
            self.name == "TypeError"
            and _SIGNATURE.search(self.message) is not None
            and bool(frames)
            and all(_CELERY_FRAME.search(frame) for frame in frames)
        )

    @property
    def _builtin_bases(self) -> list[str]:
        raised = getattr(builtins, self.name, None) if self.module == "builtins" else None
        if not isinstance(raised, type):
            return []
        shared_by_all = (raised, Exception, BaseException, object)
        return [base.__name__ for base in raised.__mro__ if base not in shared_by_all]


def read_raised(result: Any, traceback: Any = "") -> Raised:
    """The exception in the `result` of a task's meta, which may be any JSON value."""
    fields = result if isinstance(result, dict) else {}
    module, name = str(fields.get("exc_module") or ""), str(fields.get("exc_type") or "")
    arguments = fields.get("exc_message", "")
    match arguments:
        case [wrapped_module, wrapped_name, [*wrapped], *_] if (module, name) == _WRAPPER:
            module, name, arguments = str(wrapped_module), str(wrapped_name), wrapped
    if isinstance(arguments, (list, tuple)):
        arguments = ", ".join(str(argument) for argument in arguments)
    return Raised(module, name, str(arguments), str(traceback or ""))
