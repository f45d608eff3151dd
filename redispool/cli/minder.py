"""The minder: a process between `redispool run` and its command, so that the command never outlives the lease.

    redispool run (holds and renews the lease)  ->  minder  ->  command  ->  whatever the command starts

The minder has no account and talks to no server; it knows until when the lease cannot have ended. It ends the command
and all that the command started when that time comes near, when it is told to, and when `redispool run` is gone,
however that came about. What the command forked is the minder's to reap (Linux: PR_SET_CHILD_SUBREAPER), so nothing
can slip away. Should the minder itself be killed, the same falls to `redispool run`.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from redispool.cli.process_tree import adopt_orphans, reap, signal_all
from redispool.cli.terminal import remember

if TYPE_CHECKING:
    from typing import NoReturn, Self

PASSED_ON = frozenset({
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
})  # fmt: skip
_LOOK_AGAIN = 0.05  # seconds, at processes that were killed and are still there
_CHUNK = 65536
_ENDED = -1  # in place of the command's process id
_NOT_FOUND, _NOT_RUN, _KILLED = 127, 126, 128  # as shells say it


@dataclass(frozen=True, slots=True)
class Order:
    """What to run: `grace` in seconds, `over_by` by the monotonic clock, None where there is no lease to lose."""

    command: list[str]
    environment: dict[str, str]
    grace: float
    over_by: float | None
    descriptor: int | None = None
    content: str = field(default="", repr=False)  # to be read from the descriptor


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: the exit status as shells count it, whether the lease was lost, why it could not be started."""

    status: int
    lost: bool = False
    error: int = 0


class Minder:
    """The minder, as `redispool run` sees it. To be made before there are threads.

    After its `with` block neither the minder nor the command is left.
    """

    def __init__(self) -> None:
        adopt_orphans()
        self._socket, theirs = socket.socketpair()
        # a signal that comes between the fork and the new handlers would be taken for ours
        before: set[int] = set(signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON))
        self.pid = os.fork()
        if not self.pid:
            self._socket.close()
            _be_the_minder(theirs, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()  # without an order, the minder just goes; with one, it ends what it has started
        if not self._ended:
            os.waitpid(self.pid, 0)

    def start(self, order: Order) -> None:
        """Start the command."""
        self._tell(asdict(order))

    def pass_on(self, number: int) -> None:
        """Send the command a signal."""
        self._tell({"signal": number})

    def extend(self, over_by: float) -> None:
        """The lease was renewed: the command need not be over but by then, by the monotonic clock."""
        self._tell({"over_by": over_by})

    def end(self) -> None:
        """The lease is lost: end the command."""
        self._tell({"end": True})

    def outcome(self) -> Outcome | None:
        """How it ended; None while it runs."""
        if os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            return None
        self._ended = True
        said = b""
        with suppress(ConnectionResetError):  # how it ends where the minder left something unread
            while chunk := self._socket.recv(_CHUNK):
                said += chunk
        if said:
            return Outcome(**json.loads(said))
        signal_all(signal.SIGKILL)  # somebody killed the minder, and what it minded is ours now
        while reap():
            signal_all(signal.SIGKILL)
            time.sleep(_LOOK_AGAIN)
        return Outcome(128 + signal.SIGKILL)

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            return  # it has ended; `outcome` tells how


def _be_the_minder(connection: socket.socket, mask: set[int]) -> NoReturn:
    """What the forked process does, and nothing of what its parent would do afterwards."""
    try:
        _Minding(connection).run(mask)
    finally:
        os._exit(0)


def _leave_it(*_signal: object) -> None:
    """What the terminal sends is for the command, which gets it as well; unlike SIG_IGN, it does not inherit this."""


class _Minding:
    """The minder's own work."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._heard = b""
        self._child = 0
        self._status = self._error = 0
        self._lost = False
        self._grace = 0.0
        self._over_by = math.inf
        self._kill_at: float | None = None  # once the command is being ended
        self._parted = False  # from `redispool run`, which is gone

    def run(self, mask: set[int]) -> None:
        """Wait for the order, start the command, and see it to its end."""
        adopt_orphans()
        put_terminal_back = remember()
        waking, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (*PASSED_ON, signal.SIGCHLD):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish is respected, by the command too
                signal.signal(number, _leave_it)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        while not self._child:
            if not self._hear():
                return
        while self._child and not self._is_over():
            speaker = self._connection.fileno()
            readable: list[int] = select.select([waking] if self._parted else [waking, speaker], [], [], self._pause())[
                0
            ]
            if waking in readable:
                os.read(waking, _CHUNK)
            if speaker in readable and not self._hear():
                self._parted = True
                self._end(self._grace)
            self._mind_the_time()
        if self._lost or self._parted or self._status > _KILLED:
            put_terminal_back()
        if not self._parted:
            self._connection.sendall(json.dumps(asdict(Outcome(self._status, self._lost, self._error))).encode())

    def _pause(self) -> float | None:
        """Seconds after which to look at the clock."""
        now = time.monotonic()
        if self._kill_at is not None:
            return max(self._kill_at - now, _LOOK_AGAIN)
        return None if self._over_by == math.inf else max(self._over_by - self._grace - now, 0.0)

    def _mind_the_time(self) -> None:
        now = time.monotonic()
        if self._kill_at is None and now >= self._over_by - self._grace:  # no renewal came through
            self._lost = True
            self._end(self._grace)
        elif self._kill_at is not None and now >= self._kill_at:
            signal_all(signal.SIGKILL)

    def _end(self, seconds: float) -> None:
        """End the command and all that it has started: politely, and after so many seconds not so."""
        if self._kill_at is None:
            self._kill_at = min(time.monotonic() + seconds, self._over_by)
            signal_all(signal.SIGTERM)
            signal_all(signal.SIGCONT)  # what is stopped could not heed it

    def _is_over(self) -> bool:
        """Reap what has ended; whether nothing is left."""
        while (ended := reap()) is not None:
            pid, status = ended
            if pid == self._child:
                code = os.waitstatus_to_exitcode(status)
                self._status = code if code >= 0 else _KILLED - code
                self._child = _ENDED
            elif not pid:
                if self._child == _ENDED:  # what it left behind still has the account
                    self._end(self._grace)
                return False
        return True

    # -- what `redispool run` says -----------------------------------------------------------------------------------

    def _hear(self) -> bool:
        """Take in what was said; False where nobody is there any more."""
        try:
            said = self._connection.recv(_CHUNK)
        except ConnectionError:
            return False
        *lines, self._heard = (self._heard + said).split(b"\n")
        for line in lines:
            self._heed(json.loads(line))
        return bool(said)

    def _heed(self, message: dict[str, Any]) -> None:
        match message:
            case {"command": _}:
                self._start(Order(**message))
            case {"signal": number} if self._child > 0:
                os.kill(self._child, number)  # it is not reaped yet, so the id is its own
            case {"over_by": over_by}:
                self._over_by = over_by
            case {"end": True}:
                self._lost = True
                self._end(self._grace)

    def _start(self, order: Order) -> None:
        self._grace = order.grace
        self._over_by = math.inf if order.over_by is None else order.over_by
        actions = []
        if order.descriptor is not None:
            actions.append((os.POSIX_SPAWN_DUP2, _file_of(order.content), order.descriptor))
        try:
            self._child = os.posix_spawnp(
                order.command[0], order.command, order.environment, file_actions=actions,
                setsigmask=[], setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # which Python ignores
            )  # fmt: skip
        except OSError as error:
            self._child, self._error = _ENDED, error.errno or 0
            self._status = _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_RUN


def _file_of(content: str) -> int:
    """A descriptor from which the content can be read; it is in memory only."""
    file = os.memfd_create("account")
    with open(file, "wb", closefd=False) as writer:
        writer.write(content.encode())
    os.lseek(file, 0, os.SEEK_SET)
    return file
