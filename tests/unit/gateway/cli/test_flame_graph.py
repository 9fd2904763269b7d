"""Flame graphs: stacks become bars, and names become text."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from forebay.v1 import calls_pb2 as pb
from forebay_gateway.cli.flame_graph import html_of, tree_of


def profile(*stacks: tuple[list[int], int]) -> pb.ReadProfileResponse:
    answer = pb.ReadProfileResponse(pid=7, python_version="3.11.7")
    answer.duration.FromMilliseconds(2000)
    answer.cpu_time.FromMilliseconds(500)
    answer.sample_interval.FromMilliseconds(5)
    for name in ("loop", "<lambda>", "parse"):
        answer.functions.add(name=name, module="some.module", line=3)
    for functions, samples in stacks:
        answer.stacks.add(functions=functions, samples=samples)
    return answer


def test_a_bar_has_the_samples_of_all_that_it_calls() -> None:
    root = tree_of(profile(([0, 1], 3), ([0, 2], 5), ([0], 2), ([], 1)))
    assert root.samples == 11
    loop = root.called["some.module.loop, line 3"]
    assert loop.samples == 10
    assert [one.samples for one in loop.called.values()] == [3, 5]
    assert root.called["(too many other stacks)"].samples == 1


def test_the_page_is_whole_and_loads_nothing() -> None:
    page = html_of(profile(([0, 1], 3), ([0, 2], 1)), "<host>:1", "now")
    assert "https:" not in page
    assert "http:" not in page
    assert "&lt;host&gt;:1, process 7" in page
    assert "0.50 s of CPU time in 2.0 s (25% of a core), 4 samples" in page
    [drawn] = re.findall(r"<svg.*</svg>", page, re.DOTALL)
    bars = ElementTree.fromstring(drawn)  # noqa: S314  # ours
    titles = [bar.findtext("title") for bar in bars]
    assert "some.module.<lambda>, line 3: 3 samples, 75.0%" in titles
    widths = {str(bar.findtext("title")): bar.find("rect") for bar in bars}
    rect = widths["some.module.<lambda>, line 3: 3 samples, 75.0%"]
    assert rect is not None
    assert float(rect.attrib["width"]) == 900.0


def test_a_profile_without_samples_is_a_page_too() -> None:
    assert "all samples" in html_of(profile(), "host:1", "now")
