"""Draws a profile as a flame graph: one HTML file that loads nothing. Pure.

Each bar is a function, below its caller, and as wide as its share of the samples. The bars are
SVG; without JavaScript, their tooltips still work.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template

from forebay.v1.calls_pb2 import ReadProfileResponse

_WIDTH = 1200.0
_BAR_HEIGHT = 18
_NARROWEST = 0.2
"""Narrower bars, which can't be seen, are left out; their callers still count their samples."""
_CHARACTER_WIDTH = 7.0
_PROCESS = "all samples"


@dataclass
class Bar:
    """A function below its caller; `samples` include those of the functions that it calls."""

    name: str
    samples: int = 0
    called: dict[str, Bar] = field(default_factory=dict)


def tree_of(profile: ReadProfileResponse) -> Bar:
    """Merges the stacks into one tree, whose root is above the outermost functions."""
    root = Bar(_PROCESS)
    names = [f"{one.module}.{one.name}, line {one.line}" for one in profile.functions]
    for stack in profile.stacks:
        bar = root
        bar.samples += stack.samples
        for name in [names[number] for number in stack.functions] or ["(too many other stacks)"]:
            bar = bar.called.setdefault(name, Bar(name))
            bar.samples += stack.samples
    return root


def html_of(profile: ReadProfileResponse, target: str, taken_at: str) -> str:
    """The flame graph as an HTML page."""
    root = tree_of(profile)
    bars = list(_placed(root, 0.0, _WIDTH, 0))
    template = files(__package__).joinpath("flame_graph.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=escape(f"{target}, process {profile.pid}, {taken_at}"),
        summary=escape(summary_of(profile)),
        width=f"{_WIDTH:g}",
        height=(max(depth for _, _, _, depth in bars) + 1) * _BAR_HEIGHT,
        bars="\n".join(_svg(*bar, root.samples) for bar in bars),
    )


def summary_of(profile: ReadProfileResponse) -> str:
    """The CPU time of the process and the number of samples, in one line."""
    duration_s = profile.duration.ToMilliseconds() / 1000
    cpu_s = profile.cpu_time.ToMilliseconds() / 1000
    samples = sum(stack.samples for stack in profile.stacks)
    return (
        f"{cpu_s:.2f} s of CPU time in {duration_s:.1f} s ({cpu_s / duration_s:.0%} of a core), "
        f"{samples} samples, one each {profile.sample_interval.ToMilliseconds()} ms of CPU time, "
        f"Python {profile.python_version}"
    )


def _placed(
    bar: Bar, x: float, width: float, depth: int
) -> Iterator[tuple[Bar, float, float, int]]:
    yield bar, x, width, depth
    for called in sorted(bar.called.values(), key=lambda one: one.name):
        its_width = width * called.samples / bar.samples
        if its_width >= _NARROWEST:
            yield from _placed(called, x, its_width, depth + 1)
        x += its_width


def _svg(bar: Bar, x: float, width: float, depth: int, samples: int) -> str:
    share = bar.samples / samples if samples else 1.0
    label = bar.name.partition(",")[0].rpartition(".")[2]
    room = int(width / _CHARACTER_WIDTH)
    shown = label if len(label) <= room else label[: room - 1] + "…" if room > 2 else ""
    return (
        f'<g data-x="{x:.2f}" data-w="{width:.2f}" data-d="{depth}" data-n="{escape(label)}">'
        f"<title>{escape(bar.name)}: {bar.samples} samples, {share:.1%}</title>"
        f'<rect x="{x:.2f}" y="{depth * _BAR_HEIGHT}" width="{width:.2f}" '
        f'height="{_BAR_HEIGHT - 1}" fill="{_color(bar.name)}"/>'
        f'<text x="{x + 3:.2f}" y="{depth * _BAR_HEIGHT + 13}">{escape(shown)}</text></g>'
    )


def _color(name: str) -> str:
    """A color for a function; functions of the same package have the same hue."""
    package = name.partition(".")[0]
    hue = zlib.crc32(package.encode()) % 360
    lightness = 66 + zlib.crc32(name.encode()) % 12
    return f"hsl({hue} 60% {lightness}%)"
