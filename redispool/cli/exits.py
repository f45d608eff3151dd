"""How a command ends: its exit status, and the one line that says why."""

from __future__ import annotations

import signal
from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn

import redis

from redispool.errors import AcquireTimeout, ConfigError, RedispoolError, ReplicationError

if TYPE_CHECKING:
    from types import FrameType

# how Redis and Valkey say it where a script was refused a command or a key
_REFUSED = ("The user executing the script", "ACL failure in script")
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ExitStatus(IntEnum):
    """The exit statuses of every command; 69 and 75 are those of sysexits.h. A signal's is 128 and its number."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_SERVER = 69
    NO_ACCOUNT = 75
    READER_GONE = 128 + signal.SIGPIPE


def status_of(error: Exception) -> ExitStatus:
    """The exit status that stands for an error."""
    match error:
        case AcquireTimeout() | ReplicationError():
            return ExitStatus.NO_ACCOUNT
        case ConfigError():
            return ExitStatus.USAGE
        case redis.ConnectionError() | redis.TimeoutError() | redis.exceptions.RedisClusterException():
            return ExitStatus.NO_SERVER
        case _:
            return ExitStatus.FAILED


def reason_of(error: Exception) -> str:
    """One line that says what was wrong, and what to do where that is not in the error itself."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, redis.sentinel.MasterNotFoundError):
        text = text.partition(" : ")[0]  # what follows are redis-py's objects
    if isinstance(error, redis.exceptions.AuthenticationError):
        return f"the Redis server refuses the login: {text.removesuffix('.')}. Check --url or REDISPOOL_URL."
    if status_of(error) is ExitStatus.NO_SERVER:
        return f"cannot reach the Redis server: {text.removesuffix('.')}. Check --url or REDISPOOL_URL."
    if isinstance(error, redis.exceptions.NoPermissionError) or text.startswith(_REFUSED):
        return f"the server refuses that to this user: {text.removesuffix('.')}; redispool acl writes what a role needs"
    if status_of(error) is ExitStatus.FAILED and not isinstance(error, RedispoolError):
        return f"{type(error).__name__}: {text} (--debug shows where)"
    return text


def end_on_signals() -> None:
    """Let Ctrl-C, SIGTERM and a closed terminal end the command quietly, by way of its `finally` blocks."""
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish is respected
            signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    for other in _ENDING:
        signal.signal(other, signal.SIG_IGN)  # the cleaning up that begins now must not be cut short
    raise SystemExit(128 + number)
