"""Counts sampled stacks, in a bounded amount of memory."""

from __future__ import annotations

from collections import Counter
from types import CodeType, FrameType

from forebay.v1 import calls_pb2 as pb
from forebay_gateway.profiling.frames import module_of, outwards

MAX_STACKS = 4096
MAX_DEPTH = 128
_MAX_NAME = 200


class Stacks:
    """The sampled stacks; a stack is its functions, from the outermost to the innermost."""

    def __init__(self) -> None:
        self._samples: Counter[tuple[CodeType, ...]] = Counter()
        self._modules: dict[CodeType, str] = {}

    def add(self, innermost: FrameType | None) -> None:
        """Counts the stack whose innermost frame is given."""
        frames = list(outwards(innermost))
        frames.reverse()
        del frames[MAX_DEPTH:]
        stack = tuple(frame.f_code for frame in frames)
        if stack in self._samples:
            self._samples[stack] += 1
        elif len(self._samples) < MAX_STACKS:
            self._samples[stack] = 1
            for frame in frames:
                self._modules.setdefault(frame.f_code, module_of(frame))
        else:
            self._samples[()] += 1

    def write_to(self, profile: pb.ReadProfileResponse) -> None:
        """Adds functions and stacks to the profile, the most frequent stack first."""
        numbers = {code: number for number, code in enumerate(self._modules)}
        for code, module in self._modules.items():
            profile.functions.add(
                name=code.co_qualname[:_MAX_NAME],
                module=module[:_MAX_NAME],
                line=code.co_firstlineno,
            )
        for stack, samples in self._samples.most_common():
            profile.stacks.add(functions=[numbers[code] for code in stack], samples=samples)
