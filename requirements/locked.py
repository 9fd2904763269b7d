"""Runs a command while it holds a lock: `python3 requirements/locked.py FILE COMMAND…`.

It does what flock(1) does, which not every system has. The command and its children hold the lock,
so it is free when all of them have ended, even if they were killed.
"""

import fcntl
import os
import sys


def main() -> None:
    """Waits for the lock and becomes the command."""
    file, *command = sys.argv[1:]
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.stderr.write(f"waiting: another make holds {file}\n")
        fcntl.flock(lock, fcntl.LOCK_EX)
    os.set_inheritable(lock, True)
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
