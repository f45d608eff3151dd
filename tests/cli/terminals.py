"""Commands run as a user runs them: through a pipe, or on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .nursery import Nursery

COMMAND = (sys.executable, "-m", "redispool.cli")


def _take_the_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C, typed, becomes a signal


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Running:
    """A started command, whose output is read as it comes."""

    def __init__(
        self,
        *words: str,
        terminal: bool = False,
        command: Sequence[str] = COMMAND,
        stdin: str | None = None,
        nursery: Nursery | None = None,
        **environment: str,
    ) -> None:
        self.output = ""
        self.descendants: list[psutil.Process] = []
        settings = {"COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color", **environment}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("REDISPOOL_")}
        if terminal:
            self._reading, writing = pty.openpty()
            fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        else:
            self._reading, writing = os.pipe()
        environment = {**kept, **settings}
        reading, feeding = (os.dup(writing), None) if terminal else os.pipe()
        if feeding is not None:
            os.write(feeding, (stdin or "").encode())
            os.close(feeding)
        files = (reading, writing, writing)
        if nursery is None:
            self.process = subprocess.Popen(
                [*command, *words],
                stdin=reading,
                stdout=writing,
                stderr=writing,
                env=environment,
                start_new_session=True,
                preexec_fn=_take_the_terminal if terminal else None,  # noqa: PLW1509 - one system call, no lock
            )
        else:
            self.process = nursery.start(list(words), files, environment, terminal=terminal)
        os.close(reading)
        os.close(writing)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                text = os.read(self._reading, 65536)
            except OSError:  # how a terminal ends
                return
            if not text:
                return
            self.output += text.decode()

    def type(self, text: bytes) -> None:
        os.write(self._reading, text)

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed, line by line: as it does for a shell."""
        settings = termios.tcgetattr(self._reading)[3]
        return bool(settings & termios.ECHO) and bool(settings & termios.ICANON)

    def shows(self, text: str) -> bool:
        return text in self.output

    def note_descendants(self) -> list[psutil.Process]:
        """The processes that it has started by now."""
        self.descendants = psutil.Process(self.process.pid).children(recursive=True)
        return self.descendants

    def left(self) -> list[psutil.Process]:
        """Those of the noted processes that still run."""
        return [one for one in self.descendants if _runs(one)]

    def end(self, seconds: float = 60.0) -> int:
        """Wait for it; the exit status."""
        try:
            status = self.process.wait(seconds)
            self._reader.join(5.0)
        finally:
            self.stop()
        return status

    def stop(self) -> None:
        """Whatever the test came to, nothing stays behind."""
        for process in [*self.left(), self.process]:
            with suppress(psutil.NoSuchProcess):  # it has just ended
                process.kill()
        self.process.wait()
