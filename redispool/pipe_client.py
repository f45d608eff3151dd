"""The child's end of a pipe that `redispool.pipe.serve` serves; any number of threads may use it at once."""

from __future__ import annotations

import itertools
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from redispool.errors import RedispoolError
from redispool.pipe_messages import MAX_FRAME, decode, encode, error_from

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from redispool.protocol.log_flows import Retention


def is_connection(value: Any) -> bool:
    """Whether it is an end of a `multiprocessing.Pipe`."""
    return all(hasattr(value, name) for name in ("send_bytes", "recv_bytes", "poll"))


def client_of(connection: Connection) -> PipeClient:
    """The client of a connection; the same for all its users in this process."""
    client = _clients.get(connection)
    return _clients.setdefault(connection, PipeClient(connection)) if client is None else client


class PipeClient:
    """Sends requests, and brings each reply to the thread that waits for it.

    There is no thread that reads: of those that wait for replies, one reads for all. So a connection that nobody
    waits on can be closed, and is closed then.
    """

    def __init__(self, connection: Connection) -> None:
        self._reference = ref(connection)  # a connection that nobody else uses is to be closed
        # the process is part of the numbers: whoever forks on may use the pipe after us
        self._numbers = itertools.count((os.getpid() << 32) + 1)
        self._sending = threading.Lock()
        self._news = threading.Condition()
        self._reading = False
        self._replies: dict[int, dict[str, Any] | None] = {}  # None: not here yet

    def call(self, do: str, **fields: Any) -> tuple[int, Any]:
        """Send a request and wait for its reply: the number that it had, and the result.

        Raises:
            RedispoolError: the process at the other end is gone; or whatever error it replied with.
        """
        number = next(self._numbers)
        frame = encode({"id": number, "do": do, **fields})
        with self._news:
            self._replies[number] = None
        try:
            self._send(frame)
            reply = self._await(number)
        except BaseException:
            with self._news:
                self._replies.pop(number, None)
            self.cancel(number)
            raise
        if "error" in reply:
            raise error_from(reply)
        return number, reply.get("result")

    def cancel(self, number: int) -> None:
        """Give up a request: what it was granted, or will be, goes back."""
        with suppress(RedispoolError):  # then the pipe is closed, and all goes back
            self._send(encode({"id": next(self._numbers), "do": "cancel", "grant": number}))

    def _connection(self) -> Connection:
        connection = self._reference()
        if connection is None:
            raise _gone()
        return connection

    def _send(self, frame: bytes) -> None:
        connection = self._connection()
        try:
            with self._sending:
                connection.send_bytes(frame)
        except OSError:
            raise _gone() from None
        except BaseException:
            connection.close()  # half a frame may be on its way
            raise

    def _await(self, number: int) -> dict[str, Any]:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._replies[number] or not self._reading)
                reply = self._replies[number]
                if reply is not None:
                    del self._replies[number]
                    return reply
                self._reading = True
            message: dict[str, Any] = {}
            try:
                message = self._read()
            finally:
                with self._news:
                    self._reading = False
                    if message.get("id") in self._replies:
                        self._replies[message["id"]] = message
                    self._news.notify_all()

    def _read(self) -> dict[str, Any]:
        connection = self._connection()
        try:
            connection.poll(None)  # Ctrl-C here does no harm
        except OSError:
            raise _gone() from None
        try:
            return decode(connection.recv_bytes(MAX_FRAME))
        except (EOFError, OSError):
            raise _gone() from None
        except BaseException:
            connection.close()  # half a frame may be left
            raise


def _gone() -> RedispoolError:
    return RedispoolError("the pipe is closed: the process that serves it has ended, or stopped serving")


_clients: WeakKeyDictionary[Connection, PipeClient] = WeakKeyDictionary()
os.register_at_fork(after_in_child=_clients.clear)


class PipeLog:
    """A sink for a logger's entries at the other end of a pipe."""

    def __init__(self, connection: Connection, logger_id: str, retention: Retention) -> None:
        self._connection = connection
        self._fields = {"logger": logger_id, "entries": retention.entries, "seconds": retention.seconds}

    def _tell(self, event: str, job: str, **fields: Any) -> None:
        client_of(self._connection).call("log", event=event, job=job, **self._fields, **fields)

    def started(self, job: str, name: str, attempt: int) -> None:
        """An attempt at a job begins."""
        self._tell("started", job, name=name, attempt=attempt)

    def message(self, job: str, text: str) -> None:
        """The job logs something."""
        self._tell("message", job, text=text)

    def aborted(self, job: str, text: str, reason: str) -> None:
        """The attempt ends by an exception."""
        self._tell("aborted", job, text=text, reason=reason)

    def succeeded(self, job: str) -> None:
        """The attempt ends well."""
        self._tell("succeeded", job)
