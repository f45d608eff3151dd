"""Logs of jobs, kept in a Redis stream: written by a LoggerProxy, read back by a Logger in any other process."""

from __future__ import annotations

import threading
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redispool.arguments import check_name, check_namespace, check_seconds, check_text, check_whole
from redispool.connect import client_from, private_client
from redispool.drivers import Wire, run
from redispool.errors import ConfigError
from redispool.log_writer import MAX_ATTEMPT, MAX_NAME, LogSink, LogWriter
from redispool.manager import AccountManager
from redispool.pipe_client import PipeLog, is_connection
from redispool.protocol.channel import Channel
from redispool.protocol.keys import log_key
from redispool.protocol.log_flows import MAX_TEXT, LogFlows, Retention

if TYPE_CHECKING:
    from collections.abc import Iterable
    from multiprocessing.connection import Connection

    import redis as redis_py

    from redispool.protocol.log_flows import Entry, Run

MAX_ENTRIES = 100_000
MAX_AGE = 30 * 86400.0  # seconds
_MAX_ID = 200  # bytes
_LEFT_OUT = "\n[... too long, the middle is left out ...]\n"


def check_logger_id(value: Any) -> str:
    """The id of a logger: a string, or a number as in the heritage."""
    return check_name("the id of a logger", _numbered(value), _MAX_ID, "{}")


def check_job_id(value: Any) -> str:
    """The id of a job: a string, or a number as in the heritage."""
    return check_name("the id of a job", _numbered(value), MAX_NAME)


def _numbered(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def check_retention(max_entries: Any, max_age: Any) -> Retention:
    """How much of a logger's stream is to be kept."""
    age = check_seconds("max_age", max_age, least=1.0)
    return Retention(check_whole("max_entries", max_entries, 1, 1_000_000_000), age)


def stream_writer(manager: AccountManager, logger_id: str, retention: Retention) -> LogWriter:
    """What writes a logger's stream over the client of an account manager."""
    key = log_key(manager._namespace, logger_id)  # noqa: SLF001 - one package; users have no use for it
    return LogWriter(LogFlows(Channel(patience=30.0), key), manager._run, retention)  # noqa: SLF001


@dataclass(frozen=True, slots=True)
class Log:
    """What one attempt at a job has logged so far, as in `Exscript.logger.Log`.

    Attributes:
        job_id: the id of the job, as a string.
        name: what the attempt was called.
        attempt: its number.
        text: the messages, in their order.
        error: the exception that ended it, with its traceback, as text; None where there was none.
        ended: whether it has ended, one way or the other.
        reason: the message of the exception alone.
    """

    job_id: str
    name: str
    attempt: int
    text: str = ""
    error: str | None = None
    ended: bool = False
    reason: str | None = None

    def __str__(self) -> str:
        return self.text + (self.error or "")

    def __len__(self) -> int:
        return len(str(self))

    def __bool__(self) -> bool:
        return True  # a log without a text is still a log

    def get_name(self) -> str:
        """What the attempt was called."""
        return self.name

    def get_error(self, include_tb: bool = True) -> str | None:
        """The exception that ended it, with its traceback or without; None where there was none."""
        return self.error if include_tb else self.reason

    def has_error(self) -> bool:
        """Whether it ended by an exception."""
        return self.error is not None

    def has_ended(self) -> bool:
        """Whether it has ended, one way or the other."""
        return self.ended


class LoggerProxy:
    """Logs the jobs of this process into the stream of a logger, which a `Logger` reads; as in the heritage.

    Of a stream, the last `max_entries` entries of the last `max_age` seconds are kept. What is more or older is
    dropped in blocks of about a hundred while new entries are written; a stream to which nothing was written for
    `max_age` seconds is gone. Every call returns when Redis has the entry. May be shared by threads.

    Args:
        parent: an `AccountManager`; or a `multiprocessing.Connection`, at whose other end `redispool.pipe.serve` runs.
        logger_id: names the logger, in any process and on any host; a string or a number.
        max_entries: how many entries the stream keeps; a message is one, or several if it is long.
        max_age: seconds that they are kept.

    Raises:
        ConfigError: an argument makes no sense; the message says which.
    """

    def __init__(
        self,
        parent: AccountManager | Connection,
        logger_id: str | int,
        *,
        max_entries: int = MAX_ENTRIES,
        max_age: float = MAX_AGE,
    ) -> None:
        self.parent = parent
        self.logger_id = check_logger_id(logger_id)
        self._sink = _sink(parent, self.logger_id, check_retention(max_entries, max_age))

    def __repr__(self) -> str:
        return f"<LoggerProxy {self.logger_id!r}>"

    def add_log(self, job_id: str | int, name: str, attempt: int) -> Log:
        """Begin the log of an attempt at a job; from the heritage.

        Args:
            job_id: names the job to this process; a string or a number.
            name: what to call the attempt.
            attempt: its number.

        Returns:
            The log as it is now, which is empty.
        """
        job = check_job_id(job_id)
        check_name("the name of a log", name, MAX_NAME)
        self._sink.started(job, name, check_whole("attempt", attempt, 0, MAX_ATTEMPT))
        return Log(job, name, attempt)

    def log(self, job_id: str | int, message: str) -> None:
        """Append a message to the log that was begun last for the job; from the heritage.

        Raises:
            ConfigError: no log was begun for the job.
        """
        job = check_job_id(job_id)
        check_text("the message", message)
        for start in range(0, len(message), MAX_TEXT):
            self._sink.message(job, message[start : start + MAX_TEXT])

    def log_aborted(self, job_id: str | int, exc_info: Any) -> None:
        """End the job's log by an exception, which is logged as text; from the heritage.

        Args:
            job_id: the job.
            exc_info: `sys.exc_info()`, also with a traceback that is text already; or the exception itself.

        Raises:
            ConfigError: no log was begun for the job, or it is no exc_info.
        """
        self._sink.aborted(check_job_id(job_id), *_as_text(exc_info))

    def log_succeeded(self, job_id: str | int) -> None:
        """End the job's log; from the heritage.

        Raises:
            ConfigError: no log was begun for the job.
        """
        self._sink.succeeded(check_job_id(job_id))


def _sink(parent: Any, logger_id: str, retention: Retention) -> LogSink:
    if isinstance(parent, AccountManager):
        return stream_writer(parent, logger_id, retention)
    if is_connection(parent):
        return PipeLog(parent, logger_id, retention)
    raise ConfigError(f"parent must be an AccountManager or a multiprocessing.Connection, not {type(parent).__name__}")


def _as_text(exc_info: Any) -> tuple[str, str]:
    """An exception with its traceback, and its message alone (its class, where it has none)."""
    if isinstance(exc_info, BaseException):
        exc_info = type(exc_info), exc_info, exc_info.__traceback__
    if not (isinstance(exc_info, tuple) and len(exc_info) == 3 and isinstance(exc_info[1], BaseException)):  # noqa: PLR2004
        raise ConfigError("exc_info must be what sys.exc_info() gives in an except block, or an exception")
    kind, error, trace = exc_info
    text = trace if isinstance(trace, str) else "".join(traceback.format_exception(kind, error, trace))
    try:
        reason = str(error)
    except Exception:  # noqa: BLE001 - it is the user's, and may do anything
        reason = ""
    return _shortened(text or kind.__name__), _shortened(reason or type(error).__name__)


def _shortened(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    half = (MAX_TEXT - len(_LEFT_OUT)) // 2
    return text[:half] + _LEFT_OUT + text[-half:]


@dataclass(slots=True)
class _Attempt:
    """A log while it is read."""

    run: Run
    last: tuple[int, int] = (0, 0)
    parts: list[str] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)  # writer -> number of its last entry
    error: str | None = None
    reason: str | None = None
    ended: bool = False

    def take(self, entry: Entry) -> None:
        self.last = entry.position
        if entry.number <= self.seen.get(entry.writer, 0):
            return  # sent twice
        self.seen[entry.writer] = entry.number
        if entry.event == "message":
            self.parts.append(entry.text)
        elif entry.event == "aborted":
            self.error, self.reason = entry.text, entry.reason
        self.ended = self.ended or entry.event in {"aborted", "succeeded"}

    def log(self) -> Log:
        run, text = self.run, "".join(self.parts)
        self.parts = [text]
        return Log(run.job, run.name, run.attempt, text, self.error, self.ended, self.reason)


class Logger:
    """Reads what the jobs of a logger have logged, in any process and at any time; as `Exscript.logger.Logger`.

    What the stream no longer keeps (see `LoggerProxy`) is forgotten here, too; of a log whose beginning was dropped,
    the rest is shown. Each call asks Redis for what is new. May be shared by threads.

    Args:
        logger_id: as given to `LoggerProxy`.
        redis: a URL, or a client of redis-py; default: the environment variable REDISPOOL_URL, else
            redis://localhost:6379/0.
        namespace: what the names of all keys begin with.

    Raises:
        ConfigError: an argument makes no sense; the message says which.
    """

    def __init__(
        self,
        logger_id: str | int,
        *,
        redis: str | redis_py.Redis | redis_py.RedisCluster | None = None,
        namespace: str = "redispool",
    ) -> None:
        self.logger_id = check_logger_id(logger_id)
        key = log_key(check_namespace(namespace), self.logger_id)
        self._wire = Wire(private_client(client_from(redis)))
        self._flows = LogFlows(Channel(patience=30.0), key)
        self._turn = threading.Lock()
        self._position: tuple[int, int] | None = None
        self._attempts: dict[str, _Attempt] = {}

    def __repr__(self) -> str:
        return f"<Logger {self.logger_id!r}>"

    def _read(self) -> list[Log]:
        """All logs, by job in the order of their beginnings."""
        with self._turn:
            oldest, entries = run(self._flows.read(self._position), self._wire)
            self._take(entries)
            self._attempts = {
                token: attempt
                for token, attempt in self._attempts.items()
                if oldest is not None and attempt.last >= oldest
            }
            jobs: dict[str, list[Log]] = {}
            for attempt in self._attempts.values():
                jobs.setdefault(attempt.run.job, []).append(attempt.log())
        return [log for logs in jobs.values() for log in logs]

    def _take(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._position = entry.position
            attempt = self._attempts.get(entry.run.token)
            if attempt is None:
                attempt = self._attempts[entry.run.token] = _Attempt(entry.run)
            attempt.take(entry)

    def get_logs(self, job_id: str | int | None = None) -> list[Log]:
        """The logs of all jobs, or of one; a job's attempts stand together, in their order. From the heritage."""
        job = None if job_id is None else check_job_id(job_id)
        return [log for log in self._read() if job in (None, log.job_id)]

    def get_succeeded_logs(self) -> list[Log]:
        """The logs that ended well. From the heritage."""
        return [log for log in self._read() if log.ended and not log.has_error()]

    def get_aborted_logs(self) -> list[Log]:
        """The logs that ended by an exception. From the heritage."""
        return [log for log in self._read() if log.ended and log.has_error()]

    def get_succeeded_actions(self) -> int:
        """How many attempts ended well. From the heritage."""
        return len(self.get_succeeded_logs())

    def get_aborted_actions(self) -> int:
        """How many attempts ended by an exception. From the heritage."""
        return len(self.get_aborted_logs())
