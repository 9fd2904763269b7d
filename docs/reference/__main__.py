"""`python -m docs.reference [--check]`: fills the pages' regions, or names the stale pages."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docs.reference import tables

ROOT = Path(__file__).parents[2]
PAGES = (*sorted(ROOT.glob("docs/*.md")), ROOT / "backends/forebay_backends/ledger/MODEL.md")
_REGION = re.compile(r"(<!-- made: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str) -> str:
    """The page with its generated regions updated."""

    def region(match: re.Match[str]) -> str:
        table, *arguments = match[2].split()
        return f"{match[1]}\n{tables.TABLES[table](*arguments)}\n\n{match[3]}"

    return _REGION.sub(region, page)


def main() -> None:
    """Writes the pages; with --check, exits with 1 if one would change."""
    stale = []
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        fresh = filled(page)
        if fresh != page:
            stale.append(f"{path.relative_to(ROOT)} is stale: make reference")
            if "--check" not in sys.argv[1:]:
                path.write_text(fresh, encoding="utf-8")
    if stale and "--check" in sys.argv[1:]:
        sys.exit("\n".join(stale))


if __name__ == "__main__":
    main()
