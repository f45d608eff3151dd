"""Starts commands in no time: each is forked off a process that has imported all that they need.

They are processes of their own, with a session, a terminal and an environment of their own, like any other.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
from contextlib import redirect_stdout, suppress

_MOST = 1 << 20


class Nursery:
    """The process that others are forked off, as the tests see it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.nursery", str(theirs.fileno())], pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self._started: list[Child] = []
        self._born = threading.Semaphore(0)
        self._pids: list[int] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, words: list[str], files: tuple[int, int, int], environment: dict[str, str], *, terminal: bool):
        """Start `redispool WORDS`."""
        job = {"words": words, "environment": environment, "terminal": terminal}
        socket.send_fds(self._socket, [json.dumps(job).encode()], files)
        assert self._born.acquire(timeout=30)
        return self._started[-1]

    def _listen(self) -> None:
        while message := self._socket.recv(_MOST):
            news = json.loads(message)
            if "status" in news:
                next(child for child in self._started if child.pid == news["pid"]).ended(news["status"])
            else:
                self._started.append(Child(news["pid"]))
                self._born.release()

    def close(self) -> None:
        """No more commands."""
        self._process.kill()
        self._process.wait()


class Child:
    """A started command, with what the tests use of `subprocess.Popen`."""

    stdin = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._over = threading.Event()

    def ended(self, status: int) -> None:
        self.returncode = status
        self._over.set()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, seconds: float | None = None) -> int:
        if not self._over.wait(seconds):
            raise subprocess.TimeoutExpired("redispool", seconds)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def _serve(connection: socket.socket) -> list[str] | None:
    """Fork when asked to, and tell how each ended; in a forked process, the words of its command."""
    waking, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        readable, _, _ = select.select([connection, waking], [], [])
        if waking in readable:
            os.read(waking, 4096)
            with suppress(ChildProcessError):
                while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                    news = {"pid": ended[0], "status": os.waitstatus_to_exitcode(ended[1])}
                    connection.send(json.dumps(news).encode())
        if connection not in readable:
            continue
        message, files, _, _ = socket.recv_fds(connection, _MOST, 3)
        if not message:
            return None
        job = json.loads(message)
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for one in (connection.detach(), waking, wake):
                os.close(one)
            _become(job, files)
            return job["words"]
        for file in files:
            os.close(file)
        connection.send(json.dumps({"pid": pid}).encode())


def _become(job: dict, files: list[int]) -> None:
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, 64)
    if job["terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.environ.clear()
    os.environ.update(job["environment"])
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        mode = "r" if number == 0 else "w"
        setattr(sys, name, open(number, mode, buffering=1, encoding="utf-8", closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    from redispool.cli import main

    with redirect_stdout(io.StringIO()):
        main(["routes", "test", "--help"])  # what typer and rich import late, imported early
    given = _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.exit(0 if given is None else main(given))
