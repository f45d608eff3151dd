"""The processes that descend from this one, on Linux."""

from __future__ import annotations

import ctypes
import os
import sys
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from redispool.errors import ConfigError

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """From now on, a descendant whose parent ends becomes a child of this process.

    Raises:
        ConfigError: the system is not Linux.
    """
    if sys.platform != "linux" or ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise ConfigError("redispool run needs Linux, which alone lets it see to it that nothing is left running")


def descendants() -> list[int]:
    """The ids of all processes that descend from this one and have not ended, each after its parent."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has ended
                # after the name, which may hold anything: state, parent
                state, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
                if state not in (b"Z", b"X"):
                    children[int(parent)].append(int(entry.name))
    found = list(children[os.getpid()])
    for pid in found:
        found += children[pid]
    return found


def signal_all(number: int) -> None:
    """Send every descendant a signal."""
    for pid in descendants():
        with suppress(ProcessLookupError, PermissionError):  # it has ended; it is another user's by now
            os.kill(pid, number)


def reap() -> tuple[int, int] | None:
    """The id and the wait status of a child that has ended, (0, 0) where none has; None where there is none left."""
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
