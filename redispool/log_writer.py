"""Writes what jobs log into their logger's stream, in order and each entry once."""

from __future__ import annotations

import os
import secrets
import threading
from typing import TYPE_CHECKING, Protocol, TypeVar

from redispool.arguments import check_whole
from redispool.errors import ConfigError
from redispool.protocol.log_flows import MAX_TEXT, Entry, LogFlows, Retention, Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from redispool.protocol.commands import Flow

T = TypeVar("T")
MAX_NAME = 1024  # bytes
MAX_ATTEMPT = 1_000_000_000
_MOST_RUNS = 10_000  # that a writer keeps in mind; others it finds in the stream


class LogSink(Protocol):
    """Where a job's log goes: the stream, or a pipe to a process that writes the stream."""

    def started(self, job: str, name: str, attempt: int) -> None:
        """An attempt at a job begins."""

    def message(self, job: str, text: str) -> None:
        """The job logs something, of MAX_TEXT characters at most."""

    def aborted(self, job: str, text: str, reason: str) -> None:
        """The attempt ends by an exception: its traceback, and its message alone."""

    def succeeded(self, job: str) -> None:
        """The attempt ends well."""


class LogWriter:
    """A sink that writes one logger's stream.

    Args:
        flows: of the stream.
        run: runs a flow, and blocks until it is done.
        retention: how much of the stream is kept.
    """

    def __init__(self, flows: LogFlows, run: Callable[[Flow[None]], None], retention: Retention) -> None:
        self._flows = flows
        self._run = run
        self._retention = retention
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._turn = threading.Lock()  # the numbers must reach the server in their order
        self._token = secrets.token_hex(8)
        self._number = 0
        self._runs: dict[str, Run] = {}

    def started(self, job: str, name: str, attempt: int) -> None:
        """An attempt at a job begins."""
        attempt = check_whole("attempt", attempt, 0, MAX_ATTEMPT)
        self._write("started", job, begins=Run(secrets.token_hex(8), job, name, attempt))

    def message(self, job: str, text: str) -> None:
        """The job logs something."""
        self._write("message", job, text)

    def aborted(self, job: str, text: str, reason: str) -> None:
        """The attempt ends by an exception."""
        self._write("aborted", job, text, reason)

    def succeeded(self, job: str) -> None:
        """The attempt ends well."""
        self._write("succeeded", job)

    def _write(self, event: str, job: str, text: str = "", reason: str = "", begins: Run | None = None) -> None:
        if self._pid != os.getpid():
            self._start()  # a forked child counts for itself
        with self._turn:
            self._run(self._append(event, job, text[:MAX_TEXT], reason[:MAX_TEXT], begins))

    def _append(self, event: str, job: str, text: str, reason: str, begins: Run | None) -> Flow[None]:
        run = begins or self._runs.get(job) or (yield from self._flows.last_run(job))
        if run is None:
            raise ConfigError(f"job {job!r} has no log; begin one with add_log(job_id, name, attempt)")
        self._number += 1
        entry = Entry(event, run, self._token, self._number, text, reason)
        yield from self._flows.append(entry, self._retention)
        if event in {"aborted", "succeeded"}:
            self._runs.pop(job, None)
        else:
            self._runs[job] = run
            while len(self._runs) > _MOST_RUNS:
                del self._runs[next(iter(self._runs))]
