"""Makes names for protobuf from Python names. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[A-Za-z0-9]+")
_NEXT_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_KEYWORDS = frozenset({"None", "True", "False"})


def camel_case(name: str, fallback: str) -> str:
    """`place_order` becomes PlaceOrder; `fallback` is put before a name that starts with no letter.

    It is put after None, True and False: generated code can't have these names.
    """
    words = _WORD.findall(_ascii(name))
    joined = "".join(word[0].upper() + word[1:] for word in words)
    if joined in _KEYWORDS:
        return f"{joined}{fallback}"
    return joined if joined[:1].isalpha() else f"{fallback}{joined}"


def snake_case(name: str, fallback: str) -> str:
    """`maxItems` becomes max_items."""
    words = _WORD.findall(_NEXT_WORD.sub("_", _ascii(name)))
    joined = "_".join(words).lower()
    return joined if joined[:1].isalpha() else "_".join(filter(None, (fallback, joined)))


def distinct(
    parts: Sequence[tuple[str, ...]], fallback: str, reserved: Iterable[str] = ()
) -> list[str]:
    """A name for each path, made from its last part or, if names clash, from more parts.

    `shop.tasks.sync` and `billing.tasks.sync` become ShopTasksSync and BillingTasksSync. Names that
    still clash get a number.
    """
    taken = {name.casefold() for name in reserved}
    depths = [1] * len(parts)
    while True:
        names = [
            camel_case("_".join(one[-depth:]), fallback)
            for one, depth in zip(parts, depths, strict=True)
        ]
        counts = Counter(name.casefold() for name in names)
        longer = [
            index
            for index, name in enumerate(names)
            if (counts[name.casefold()] > 1 or name.casefold() in taken)
            and depths[index] < len(parts[index])
        ]
        if not longer:
            return numbered(names, taken)
        for index in longer:
            depths[index] += 1


def numbered(names: Iterable[str], taken: set[str]) -> list[str]:
    """The names, with a number after each that is in `taken` or equal to an earlier one.

    Names are compared without case and underscores, as protobuf compares JSON names and enum
    values. Adds the results to `taken`.
    """
    chosen = []
    for name in names:
        candidate, number = name, 1
        while candidate.replace("_", "").casefold() in taken:
            number += 1
            candidate = f"{name}{number}" if name[-1].isalpha() else f"{name}_{number}"
        taken.add(candidate.replace("_", "").casefold())
        chosen.append(candidate)
    return chosen


def _ascii(name: str) -> str:
    """The name without accents and other characters that protobuf's names can't have."""
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
