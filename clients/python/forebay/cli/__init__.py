"""The command `forebay`. Each subcommand is an entry point of the group `forebay.commands`.

The client's extra `cli` installs `call` and others, the extra `gateway` adds `up`, `gateway` and
more. A subcommand is imported when it is run or listed. `top/` is `forebay top`; each other one is
a module.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec


def silence_grpc_core() -> None:
    """Turns off gRPC's own log; call it before gRPC is imported. A user's own setting wins.

    Clients and gateways would otherwise print a line to standard error for each failed TLS
    handshake, although the call's error describes it.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def main() -> None:
    """Runs the command line; exits with the subcommand's exit code."""
    if find_spec("click") is None:
        sys.exit("the command line needs more packages: pip install 'forebay[cli]'")
    silence_grpc_core()
    from forebay.cli.group import forebay

    # As `celery -A` does: modules in the current folder can be imported.
    sys.path.append(os.getcwd())
    forebay(prog_name="forebay")
