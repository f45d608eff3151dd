"""The terminal on standard input, which a command that is killed cannot put back as it was."""

from __future__ import annotations

import os
import signal
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_INPUT = 0


def remember() -> Callable[[], None]:
    """What puts the terminal back: its settings as they are now, and ourselves in front of it if we are now."""
    try:
        settings, group = termios.tcgetattr(_INPUT), os.tcgetpgrp(_INPUT)
    except (termios.error, OSError):  # there is none
        return lambda: None
    if group != os.getpgrp():  # others are in front of it
        return lambda: None

    def put_back() -> None:
        with suppress(termios.error, OSError):  # it is gone
            front = os.tcgetpgrp(_INPUT)
            if front == group or not _is_there(front):  # else it is the shell's by now
                signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # which stops who does this from behind
                os.tcsetpgrp(_INPUT, group)
                termios.tcsetattr(_INPUT, termios.TCSADRAIN, settings)

    return put_back


def _is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
