"""What has changed between two states of the keys and certificates in force. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Keys = Mapping[str, object]
"""Keys by their ids. The keys are compared, and never shown."""

_MOST_NAMED = 10


def key_changes(before: Keys, after: Keys) -> str:
    """For example "added: k2, k3; removed: k1"; empty if nothing has changed."""
    changed = (name for name in before.keys() & after.keys() if before[name] != after[name])
    parts = {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "changed": sorted(changed),
    }
    return "; ".join(f"{what}: {_listed(names)}" for what, names in parts.items() if names)


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


class KeyWatch:
    """Compares the keys of each source with those of the last time."""

    def __init__(self, keys: Mapping[str, Keys], problems: list[str]) -> None:
        self._keys = dict(keys)
        self._problems = set(problems)

    def changes(self, keys: Mapping[str, Keys]) -> Iterator[tuple[str, str]]:
        """The name of each source whose keys have changed, and what has."""
        for source, after in keys.items():
            before = self._keys.get(source, {})
            self._keys[source] = after
            if before is not after:
                change = key_changes(before, after)
                if change:
                    yield source, change

    def new_problems(self, problems: list[str]) -> list[str]:
        """The problems that were not there the last time: new keys that could not be used."""
        new = [problem for problem in problems if problem not in self._problems]
        self._problems = set(problems)
        return new
