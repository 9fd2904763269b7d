"""What a trigger of a ScaledObject asks for, from its metadata. Pure.

For example `{queue: "echo", target: "2"}`: as many workers as it takes for each slot to have 2
calls. KEDA sends all of a trigger's metadata, its own keys too, and a key that ends in `FromEnv`
has the value of the variable that it names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from forebay.errors import FieldViolation, InvalidRequest

QUEUE = "queue"
APPLICATION = "application"
TARGET = "target"
TARGET_WAIT = "targetWaitSeconds"

_OURS = (QUEUE, APPLICATION, TARGET, TARGET_WAIT)
_KEDAS = frozenset(
    {
        *("scalerAddress", "enableTLS", "unsafeSsl"),
        *("caCert", "tlsClientCert", "tlsClientKey", "tlsCertFile"),
    }
)
_FROM_ENV = "FromEnv"
_UNFIT_FOR_A_NAME = re.compile(r"[^a-z0-9-]+")


@dataclass(frozen=True)
class CallsPerSlot:
    """The goal that each slot has `size` calls, waiting or running."""

    size: float


@dataclass(frozen=True)
class WaitSeconds:
    """The goal that a call waits for at most `size` seconds."""

    size: float


Goal = CallsPerSlot | WaitSeconds


@dataclass(frozen=True)
class Trigger:
    """A queue, of an application or ("") of the main broker, and the goal for its workers."""

    queue: str
    application: str
    goal: Goal

    @property
    def metric_name(self) -> str:
        """A name that Kubernetes accepts; KEDA puts the trigger's index before it."""
        words = "-".join(filter(None, ("forebay", self.application, self.queue)))
        return _UNFIT_FOR_A_NAME.sub("-", words.lower()).strip("-")


def read_trigger(metadata: Mapping[str, str]) -> Trigger:
    """Raises InvalidRequest, with all that is wrong with the metadata."""
    values = {name.removesuffix(_FROM_ENV): value for name, value in metadata.items()}
    problems = [
        FieldViolation(name, f"expected one of {', '.join(_OURS)}")
        for name in sorted(values.keys() - _KEDAS - set(_OURS))
    ]
    if not values.get(QUEUE):
        problems.append(FieldViolation(QUEUE, "expected the name of a queue"))
    given = [name for name in (TARGET, TARGET_WAIT) if name in values]
    if len(given) != 1:
        problems.append(
            FieldViolation(
                TARGET,
                f"expected either {TARGET}, in calls a slot, or {TARGET_WAIT}; got "
                + ("both" if given else "neither"),
            )
        )
    sizes = {name: _positive(values[name]) for name in given}
    problems += [
        FieldViolation(name, f"expected a number above 0, got {values[name]!r}")
        for name, size in sizes.items()
        if size is None
    ]
    if problems:
        raise InvalidRequest(
            "the trigger's metadata is invalid: "
            + "; ".join(f"{each.field}: {each.description}" for each in problems),
            violations=tuple(problems),
        )
    target = sizes.get(TARGET)
    goal = CallsPerSlot(target) if target else WaitSeconds(sizes.get(TARGET_WAIT) or 0.0)
    return Trigger(values[QUEUE], values.get(APPLICATION, ""), goal)


def _positive(text: str) -> float | None:
    try:
        size = float(text)
    except ValueError:
        return None
    return size if 0 < size < inf else None
