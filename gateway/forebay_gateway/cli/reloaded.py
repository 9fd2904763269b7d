"""The child of `forebay up --reload`: `python -m forebay_gateway.cli.reloaded FD PROGRAM WORDS…`.

It runs `forebay WORDS…` and stops, as at SIGTERM, when its parent has ended: FD is its end of a
socket to the parent. PROGRAM is how the parent was started.
"""

from __future__ import annotations

import sys

from forebay.cli import main
from forebay_backends.process.parent_link import exit_with_parent

if __name__ == "__main__":
    exit_with_parent(int(sys.argv[1]))
    sys.argv = sys.argv[2:]
    main()
