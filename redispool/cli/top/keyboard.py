"""Keys, as they are pressed."""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import tty
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self

_NAMES = {
    b"\x1b[A": "up", b"\x1b[B": "down", b"\x1bOA": "up", b"\x1bOB": "down", b"\x1b[5~": "page up",
    b"\x1b[6~": "page down", b"\r": "enter", b"\n": "enter", b"\x1b": "escape",
    b"\x7f": "backspace", b"\b": "backspace", b"\t": "tab",
}  # fmt: skip
_KEY = re.compile(rb"\x1b[\[O][0-9;]*[A-Za-z~]|[\xc2-\xf4][\x80-\xbf]+|.", re.DOTALL)
_MOST = 1024


class Keyboard:
    """The terminal on standard input, each key at once and unechoed; for use in a `with` block."""

    def __enter__(self) -> Self:
        self._file = sys.stdin.fileno()
        self._before: list[Any] = termios.tcgetattr(self._file)
        tty.setcbreak(self._file)
        return self

    def __exit__(self, *_exception: object) -> None:
        termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)

    def keys(self, seconds: float) -> list[str]:
        """The keys that are pressed within so many seconds, as soon as there are some; [] for none.

        A key is its character, or a name such as 'up' or 'enter'.
        """
        if not select.select([self._file], [], [], max(seconds, 0.0))[0]:
            return []
        pressed = os.read(self._file, _MOST)
        if not pressed:
            raise EOFError  # the terminal is gone
        return [_NAMES.get(key) or key.decode("utf-8", "replace") for key in _KEY.findall(pressed)]
