"""The other end of a pipe: a process that reaches Redis serves a child that must not."""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redispool.arguments import check_name
from redispool.drivers import Interrupted, interruptible
from redispool.errors import ConfigError, RedispoolError, UnknownAccount
from redispool.identity import new_token
from redispool.log_writer import MAX_NAME, LogWriter
from redispool.logger import check_job_id, check_logger_id, check_retention, stream_writer
from redispool.pipe_messages import MAX_FRAME, decode, encode, error_fields, field

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from redispool.account import Account
    from redispool.manager import AccountManager

log = logging.getLogger("redispool")
_MOST_REQUESTS = 1000  # of one pipe at a time
_MOST_LOGGERS = 1000


def serve(connection: Connection, manager: AccountManager) -> None:
    """Answer the requests of a child's `AccountProxy` and `LoggerProxy` objects, until the pipe closes.

    This blocks, so run it in a thread for each child. When the pipe closes, because the child closed it, ended or was
    killed, all that the child holds goes back to its pools, and what it waited for is called off. Leases are renewed
    by this process meanwhile. Only plain data is read from the pipe; anything else is refused.

        ours, childs = multiprocessing.Pipe()
        process = multiprocessing.Process(target=work, args=(childs,))
        process.start()
        childs.close()  # or the pipe never closes
        threading.Thread(target=serve, args=(ours, manager), daemon=True).start()

    Args:
        connection: this process's end of a `multiprocessing.Pipe`; it is closed in the end. No other process
            may keep the child's end open: this one closes its copy when the child has started.
        manager: chooses the accounts.
    """
    _Server(connection, manager).run()


@dataclass(frozen=True, slots=True)
class RemoteHost:
    """A host object of the child, as the manager's matches see it."""

    name: str
    hostname: str

    def get_name(self) -> str:
        """Its name."""
        return self.name

    def get_address(self) -> str:
        """Its address."""
        return self.hostname


class _Server:
    """One pipe: a thread for each request, so that one that waits delays no other."""

    def __init__(self, connection: Connection, manager: AccountManager) -> None:
        self._connection = connection
        self._manager = manager
        self._owner = f"{new_token()}:pipe"
        self._sending = threading.Lock()
        self._lock = threading.Lock()  # of what follows
        self._running: dict[int, tuple[threading.Thread, threading.Event]] = {}
        self._held: dict[int, Account] = {}
        self._writers: dict[str, LogWriter] = {}

    def run(self) -> None:
        try:
            while (frame := self._receive()) is not None:
                self._begin(frame)
        finally:
            self._end()

    def _receive(self) -> bytes | None:
        try:
            return self._connection.recv_bytes(MAX_FRAME)
        except EOFError:
            return None
        except OSError:  # the pipe broke, or what comes is too large to be read, and nothing after it can be
            self._reply(None, error_fields(ConfigError(f"a message on the pipe has at most {MAX_FRAME} bytes")))
            return None

    def _reply(self, number: int | None, outcome: dict[str, Any]) -> None:
        frame = encode({"id": number, **outcome})
        with suppress(OSError), self._sending:  # if the child is gone, the reader notices
            self._connection.send_bytes(frame)

    # -- requests ------------------------------------------------------------------------------------------------

    def _begin(self, frame: bytes) -> None:
        number = None
        try:
            request = decode(frame)
            number = field(request, "id", int)
            stop = threading.Event()
            action = self._action(number, request, stop)
            if action is None:
                return
            thread = threading.Thread(target=self._answer, args=(number, action), name="redispool-pipe", daemon=True)
            with self._lock:
                if number in self._running or number in self._held:
                    raise ConfigError("the id of a request is in use")
                if len(self._running) >= _MOST_REQUESTS:
                    raise RedispoolError(f"more than {_MOST_REQUESTS} requests at a time on one pipe")  # noqa: TRY301
                self._running[number] = (thread, stop)
            thread.start()
        except RedispoolError as error:
            self._reply(number, error_fields(error))

    def _action(self, number: int, request: dict[str, Any], stop: threading.Event) -> Callable[[], Any] | None:
        """What a request asks for, its fields checked; None if it is done already."""
        match request.get("do"):
            case "acquire":
                host, account_hash = _host(request), field(request, "hash", str, int, type(None))
                timeout = field(request, "timeout", int, float, type(None))
                return lambda: self._acquire(number, stop, host, account_hash, timeout)
            case "release":
                grant = field(request, "grant", int)
                return lambda: self._release(grant)
            case "cancel":
                self._cancel(field(request, "grant", int))
                return None
            case "log":
                return self._log(request)
        raise ConfigError("an unknown request on the pipe; use the same version of redispool at both of its ends")

    def _answer(self, number: int, action: Callable[[], Any]) -> None:
        try:
            self._reply(number, {"result": action()})
        except Interrupted:
            pass  # nobody waits for the reply
        except Exception as error:  # noqa: BLE001 - whatever it was, the child is told
            self._give_back([number])
            self._reply(number, error_fields(error))
        finally:
            with self._lock:
                self._running.pop(number, None)

    def _acquire(
        self, number: int, stop: threading.Event, host: Any, account_hash: Any, timeout: float | None
    ) -> dict[str, Any]:
        with interruptible(stop):
            account = self._choose(host, account_hash, timeout)
        with self._lock:
            self._held[number] = account
        if stop.is_set():
            self._give_back([number])
            raise Interrupted
        key = account.get_key()
        return {
            "locked": account.lease is not None,
            "fence": account.lease.fence if account.lease is not None else 0,
            "name": account.get_name(),
            "password": account.get_password(),
            "password2": account.get_authorization_password(),
            "key": None if key is None else key.fields(),
            "max_sessions": account.max_sessions,
            "labels": account.labels,
        }

    def _choose(self, host: Any, account_hash: Any, timeout: float | None) -> Account:
        if host is not None:
            return self._manager.acquire_account_for(host, self._owner, timeout=timeout)
        if account_hash is None:
            return self._manager.acquire_account(None, self._owner, timeout=timeout)
        account = self._manager.get_account_from_hash(account_hash)
        if account is None:
            raise UnknownAccount("the account manager has no account of that hash")
        return self._manager.acquire_account(account, self._owner, timeout=timeout)

    def _release(self, grant: int) -> None:
        with self._lock:
            account = self._held.pop(grant, None)
        if account is None:
            raise ConfigError("no account is held under that number")
        account.release()

    def _cancel(self, grant: int) -> None:
        with self._lock:
            if grant in self._running:
                self._running[grant][1].set()
            held = grant in self._held
        if held:  # in a thread, so that an outage delays no other request
            threading.Thread(target=self._give_back, args=([grant],), name="redispool-pipe", daemon=True).start()

    def _log(self, request: dict[str, Any]) -> Callable[[], None]:
        job = check_job_id(field(request, "job", str))
        writer = self._writer(request)
        match request.get("event"):
            case "started":
                name, attempt = check_name("the name of a log", request.get("name"), MAX_NAME), request.get("attempt")
                return lambda: writer.started(job, name, attempt)  # type: ignore[arg-type]  # the writer checks it
            case "message":
                text = field(request, "text", str)
                return lambda: writer.message(job, text)
            case "aborted":
                text, reason = field(request, "text", str), field(request, "reason", str)
                return lambda: writer.aborted(job, text, reason)
            case "succeeded":
                return lambda: writer.succeeded(job)
        raise ConfigError("an unknown event of a log on the pipe")

    def _writer(self, request: dict[str, Any]) -> LogWriter:
        logger_id = check_logger_id(field(request, "logger", str))
        retention = check_retention(request.get("entries"), request.get("seconds"))
        writer = self._writers.get(logger_id)
        if writer is None:
            if len(self._writers) >= _MOST_LOGGERS:
                raise RedispoolError(f"more than {_MOST_LOGGERS} loggers on one pipe")
            writer = self._writers[logger_id] = stream_writer(self._manager, logger_id, retention)
        return writer

    # -- the end -------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Call off what runs, and give back what is held: at once, and again what came meanwhile."""
        with self._lock:
            running = list(self._running.values())
        for _, stop in running:
            stop.set()
        self._shut_down()
        self._give_back(list(self._held))
        for thread, _ in running:
            thread.join()
        self._give_back(list(self._held))
        self._connection.close()

    def _shut_down(self) -> None:
        """Nobody may wait on the pipe any more, neither the child nor a thread whose reply it does not read."""
        with suppress(OSError, ValueError), socket.socket(fileno=os.dup(self._connection.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)

    def _give_back(self, grants: list[int]) -> None:
        for grant in grants:
            with self._lock:
                account = self._held.pop(grant, None)
            if account is not None:
                try:
                    account.release()
                except Exception as error:  # noqa: BLE001 - the others must go back as well
                    log.warning("account %r of a child comes back by its TTL: %s", account.name, error)


def _host(request: dict[str, Any]) -> str | RemoteHost | None:
    host = field(request, "host", str, dict, type(None))
    if not isinstance(host, dict):
        return host  # type: ignore[no-any-return]  # a string or None, as checked
    return RemoteHost(field(host, "name", str), field(host, "address", str))
