"""Copies the operators' page's libraries from `node_modules`, whose lock names their versions.

`python -m tests.browser.vendor` writes the files that the wheel has; a test compares them.

The published modules name each other as npm knows them ("preact/hooks"). Browsers need addresses,
and the page's Content-Security-Policy allows no inline map of them, so these names are replaced.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = Path(__file__).with_name("node_modules")
TARGET = ROOT / "gateway/forebay_gateway/operators_page/static/vendor"

FILES = {
    "preact.js": "preact/dist/preact.mjs",
    "hooks.js": "preact/hooks/dist/hooks.mjs",
    "signals-core.js": "@preact/signals-core/dist/signals-core.mjs",
    "signals.js": "@preact/signals/dist/signals.mjs",
    "htm.js": "htm/dist/htm.mjs",
    "uPlot.esm.js": "uplot/dist/uPlot.esm.js",
    "uPlot.min.css": "uplot/dist/uPlot.min.css",
    "preact.LICENSE": "preact/LICENSE",
    "signals.LICENSE": "@preact/signals/LICENSE",
    "signals-core.LICENSE": "@preact/signals-core/LICENSE",
    "htm.LICENSE": "htm/LICENSE",
    "uPlot.LICENSE": "uplot/LICENSE",
}
_ADDRESSES = {
    "preact": "./preact.js",
    "preact/hooks": "./hooks.js",
    "@preact/signals-core": "./signals-core.js",
}


def vendored(modules: Path = MODULES) -> dict[str, str]:
    """The files' contents, by name, from a folder `node_modules`."""
    return {name: _adapted((modules / path).read_text()) for name, path in FILES.items()}


def _adapted(text: str) -> str:
    for module, address in _ADDRESSES.items():
        text = re.sub(rf'from ?"{re.escape(module)}"', f'from"{address}"', text)
    # Maps to the sources are not shipped.
    return re.sub(r"//# sourceMappingURL=\S*", "", text)


if __name__ == "__main__":
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, text in vendored().items():
        (TARGET / name).write_text(text)
