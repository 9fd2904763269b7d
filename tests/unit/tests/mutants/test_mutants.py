"""Mutants of Python and of Lua, and the sample that a run tests."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.mutants.equivalent import LISTED, read_equivalents, stale
from tests.mutants.lua_edits import lua_edits
from tests.mutants.mutant import Mutant, mutants, sample
from tests.mutants.python_edits import python_edits
from tests.mutants.table import LUA, PYTHON
from tests.mutants.tree import ROOT


def of_python(source: str) -> list[str]:
    return [mutant.becomes for mutant in mutants("m.py", source, python_edits(source))]


def of_lua(source: str) -> list[str]:
    return [mutant.becomes for mutant in mutants("s.lua", source, lua_edits(source))]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", {"a <= b", "pass"}),
        ("x = a <= b", {"x = a < b"}),
        ("x = a is not None", {"x = a is None"}),
        ("x = a not in b", {"x = a in b"}),
        ("x = a < b <= c", {"x = a <= b <= c", "x = a < b < c"}),
        ("x = (a + b) * c", {"x = (a - b) * c", "x = (a + b) / c"}),
        ("x += a", {"x -= a", "pass"}),
        ("x = a and b or c", {"x = a or b or c", "x = a and b and c"}),
        ("x = not a", {"x = a"}),
        ("x = -a", {"x = a"}),
        ("x = a if b else c", {"x = a if not (b) else c"}),
        ("x = [a for a in b if c]", {"x = [a for a in b if not (c)]"}),
        ("x = True", {"x = False"}),
        ("x = 1.5", {"x = 2.5", "x = 0.5"}),
        ("a.b = c", {"pass"}),
        ("a()", {"pass"}),
        ("def f(): return a", {"def f(): return None"}),
        ("def f(): return None", set()),
        ("def f(a: int = 1) -> None: 'text'", {
            "def f(a: int = 2) -> None: 'text'",
            "def f(a: int = 0) -> None: 'text'",
        }),
        ("@wraps(True)\ndef f(): raise a", {"def f(): pass"}),
        ("x: tuple[1] | None = 'text'", set()),
        ("x = f'{a + 1}'", set()),
        ("x = 'ä' + b", {"x = 'ä' - b"}),
    ],
)  # fmt: skip
def test_python_is_mutated_node_by_node(source: str, expected: set[str]) -> None:
    assert set(of_python(source)) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("if a == b then", {"if a ~= b then"}),
        ("local x = a < b and c", {"local x = a <= b and c", "local x = a < b or c"}),
        ("local x = not a", {"local x = a"}),
        ("local x = '+' .. b  -- not 1", set()),
        ("local x = ARGV[1] + 10", {
            "local x = ARGV[1] - 10",
            "local x = ARGV[1] + 11",
            "local x = ARGV[1] + 9",
        }),
        ("redis.call('DEL', key('call', call),\n  other)", {""}),
        ("if a then drop(b) end", {"if a then end"}),
        ("local x = r.a1 or nil", {"local x = r.a1 and nil"}),
    ],
)  # fmt: skip
def test_lua_is_mutated_by_patterns(source: str, expected: set[str]) -> None:
    assert set(of_lua(source)) == expected


def test_a_mutant_names_its_lines_and_changes_only_them() -> None:
    source = "x = 1\nif (\n    a\n    and b\n):\n    pass\n"
    [mutant] = [one for one in mutants("m.py", source, python_edits(source)) if one.number == 4]
    assert (mutant.line, mutant.becomes) == ("and b", "or b")
    assert mutant.applied(source) == source.replace("and", "or")


def test_a_sample_stays_the_same_when_other_lines_change() -> None:
    source = "".join(f"a{number} = b < {number}\n" for number in range(50))
    before = sample(mutants("m.py", source, python_edits(source)), 20, seed=1)
    changed = "import more\n\n" + source
    after = sample(mutants("m.py", changed, python_edits(changed)), 20, seed=1)
    assert [one.key for one in before] == [one.key for one in after]
    assert len(before) == 20
    other = sample(mutants("m.py", source, python_edits(source)), 20, seed=2)
    assert [one.key for one in other] != [one.key for one in before]


def found() -> list[Mutant]:
    """All mutants of the sources."""
    all_mutants: list[Mutant] = []
    for path in (*PYTHON, *LUA):
        source = (ROOT / path).read_text()
        edits = (lua_edits if path in LUA else python_edits)(source)
        all_mutants += mutants(path, source, edits)
    return all_mutants


def test_every_file_of_the_table_has_mutants_and_tests() -> None:
    per_file = Counter(mutant.path for mutant in found())
    assert per_file.keys() == {*PYTHON, *LUA}
    assert all((ROOT / path).exists() for tests in PYTHON.values() for path in tests)


def test_the_listed_equivalents_match_and_have_reasons() -> None:
    listed = read_equivalents(LISTED.read_text())
    assert not stale(listed, found())
    assert all(entry.reason for entry in listed)
    assert len({entry.key for entry in listed}) == len(listed)


def test_an_entry_that_matches_nothing_is_stale() -> None:
    [old] = read_equivalents(
        '[[equivalent]]\npath = "m.py"\nline = "a"\nbecomes = "b"\nreason = "none"\n'
    )
    assert stale([old], found()) == [old]
