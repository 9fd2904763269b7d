"""Permissions: dotted names, and the patterns of roles that grant them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

READ = "forebay.calls.read"
CANCEL = "forebay.calls.cancel"
DELETE = "forebay.calls.delete"
QUEUES = "forebay.calls.queues"
ANY_TENANT = "forebay.calls.any_tenant"
OWN = (READ, CANCEL, DELETE, QUEUES, ANY_TENANT)
"""The permissions of the gateway's own services."""

_ANYTHING = "*"


def covers(pattern: str, permission: str) -> bool:
    """Whether the pattern grants the permission; `*` at its end stands for anything."""
    if pattern.endswith(_ANYTHING):
        return permission.startswith(pattern[: -len(_ANYTHING)])
    return permission == pattern


class Roles:
    """The roles of the settings: names for sets of permissions.

    A caller's token may name unknown roles, which grant nothing.
    """

    def __init__(self, patterns: Mapping[str, Iterable[str]]) -> None:
        self._patterns = {role: tuple(granted) for role, granted in patterns.items()}
        self._granting: dict[str, frozenset[str]] = {}

    def granting(self, permission: str) -> frozenset[str]:
        """The roles that grant the permission, any of which is enough."""
        found = self._granting.get(permission)
        if found is None:
            found = self._granting[permission] = frozenset(
                role
                for role, patterns in self._patterns.items()
                if any(covers(pattern, permission) for pattern in patterns)
            )
        return found

    def grants(self, roles: Iterable[str], permission: str) -> bool:
        """Whether one of the roles grants the permission, which is one of those served here."""
        return not self.granting(permission).isdisjoint(roles)

    def patterns_of(self, roles: Iterable[str]) -> tuple[str, ...]:
        """What the roles grant together, in order and each once."""
        granted = (pattern for role in roles for pattern in self._patterns.get(role, ()))
        return tuple(sorted(set(granted)))


def role_problems(
    roles: Mapping[str, Iterable[str]], served: Iterable[str], named: Mapping[str, Iterable[str]]
) -> Iterator[str]:
    """All problems of the roles in the settings, one line each.

    `served` are the permissions of the served methods; `named` has the roles that other settings
    name, by the setting.
    """
    known = {*served, *OWN}
    for role, patterns in roles.items():
        for pattern in patterns:
            if _ANYTHING in pattern[:-1]:
                yield f"roles.{role}: {pattern!r} has `*` before its end; it stands there alone"
            elif not any(covers(pattern, permission) for permission in known):
                yield (
                    f"roles.{role}: {pattern!r} is the permission of no method that is served "
                    "here; `forebay routes` shows what each method requires"
                )
    yield from unknown_roles(roles, named)


def unknown_roles(
    roles: Mapping[str, Iterable[str]], named: Mapping[str, Iterable[str]]
) -> Iterator[str]:
    """A line for each role that is named, and not defined; `named` is as in `role_problems`."""
    for setting, names in named.items():
        for name in names:
            if name not in roles:
                expected = ", ".join(sorted(roles)) or "none, since [roles] is empty"
                yield f"{setting}: there is no role {name!r} in [roles]; expected {expected}"
