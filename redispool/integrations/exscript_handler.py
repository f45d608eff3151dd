"""What answers the requests of one job of an `Exscript.Queue`; imported only where Exscript is installed."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - else sockets import it later, and a job forked in that instant hangs at its own
import logging
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import redis
from Exscript.queue import Queue, _call_logger, _PipeHandler  # type: ignore[import-untyped]
from Exscript.workqueue.job import Process, _ChildWatcher  # type: ignore[import-untyped]

from redispool.account import Account, hash_of_name
from redispool.drivers import Interrupted, interruptible
from redispool.errors import LeaseLost, NotHeld, RedispoolError
from redispool.private_key import PrivateKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from redispool.integrations.exscript import QueueAccounts
    from redispool.lease import Lease

__all__ = ["JobProcess", "PipeHandler", "Process", "Queue"]

log = logging.getLogger("redispool")


class JobProcessDied(RedispoolError):  # noqa: N818
    """The process of a job ended without a word."""


class JobProcess(Process):  # type: ignore[misc]
    """Exscript's own, which may be told of its end by somebody else, until Exscript has its result."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.begin()

    @classmethod
    def adopt(cls, child: Any) -> None:
        """Make a process of Exscript's, which runs already, one of this class."""
        child.__class__ = cls
        child.begin()

    def begin(self) -> None:
        """Have no result yet."""
        self._has_result = False
        self._turn = threading.Lock()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end; Exscript does so when it has the result, and then closes the pipe that it came by."""
        if isinstance(threading.current_thread(), _ChildWatcher):
            with self._turn:
                self._has_result = True
        super().join(timeout)

    def end(self) -> None:
        """Tell Exscript that the process has ended; if it did so without a result, Exscript would wait for ever."""
        with self._turn:
            if self._has_result:
                return
            error = JobProcessDied(f"the process of job {self.name!r} ended with exit code {self.exitcode}")
            with suppress(OSError):  # a job that was adopted as it ended, which Exscript had joined before
                self.pipe.send((JobProcessDied, error, f"{error}\n"))  # behind a result, if there is one
                with socket.socket(fileno=os.dup(self.pipe.fileno())) as stream:
                    stream.shutdown(socket.SHUT_WR)  # what was killed amid a result leaves half of it: so it ends


@dataclass(frozen=True, slots=True, eq=False)
class _Loan:
    """An account that a job holds, by the number that it was told."""

    number: int
    account: Any  # an Account; or one of Exscript's, if a host brings it
    lease: Lease | None


class JobKey(PrivateKey):
    """A key as a job gets it: Exscript wants a file, and the key's own may be on another host."""

    _file: Any = None

    def get_filename(self) -> str | None:
        """A file from which this process can read the key."""
        if self.get_text() is None:
            return super().get_filename()
        if self._file is None:
            self._file = _private_file(self.get_text() or "")
        return f"/proc/self/fd/{self._file.fileno()}" if isinstance(self._file.name, int) else self._file.name

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_file"}


def _private_file(text: str) -> Any:
    """A file that nobody else can read, which goes when the object does; in memory where there is such a thing."""
    if hasattr(os, "memfd_create"):
        file: Any = os.fdopen(os.memfd_create("key"), "w")
    else:
        file = NamedTemporaryFile("w")  # noqa: SIM115 - it is closed when nobody has it any more
    file.write(text)
    file.flush()
    return file


class PipeHandler(_PipeHandler):  # type: ignore[misc]
    """Exscript's own, with four differences.

    It serves one attempt at its job, for what an attempt has not read must not be taken for another's. It knows which
    leases it gave to it, and releases these and no others. An error is the answer to a request,
    and not the handler's end, after which Exscript's job would wait for ever. And a job whose process was killed
    gives back what it held, and is known to have failed, where Exscript would wait for ever too.
    """

    def __init__(self, accounts: QueueAccounts) -> None:
        super().__init__(accounts)
        self._begin(None)

    @classmethod
    def adopt(cls, handler: Any, accounts: QueueAccounts, job: Any) -> Self:
        """Make a handler of Exscript's, which runs already, one of this class."""
        cls._begin(handler, job)
        handler.accm = accounts
        handler.__class__ = cls
        adopted: Self = handler
        return adopted

    def _begin(self, job: Any) -> None:
        self.job = job
        self._gone = threading.Event()  # the attempt, which a thread or a process makes
        self._is_watched = False
        self._lock = threading.Lock()  # of the loans, and of who begins to watch
        self._loans: list[_Loan] = []
        self._returning = threading.Lock()

    # -- requests ------------------------------------------------------------------------------------------------

    def _handle_request(self, request: Any) -> None:
        # for_random_account sends the command alone
        command, argument = request if isinstance(request, tuple) else (request, None)
        try:
            self._answer(command, argument)
        except Interrupted:
            pass  # nobody waits for the answer
        except Exception as error:  # noqa: BLE001 - whatever it was, the job is told
            log.debug("a job's request failed: %s", error)
            if command not in {"log-message", "log-aborted", "log-succeeded"}:  # these have no answer
                self._send(_portable(error))

    def _answer(self, command: str, argument: Any) -> None:
        match command:
            case "acquire-account-for-host":
                self._lend(lambda: self.accm.acquire_account_for(argument, self))
            case "acquire-account-from-hash":
                account = self._known(argument)
                if account is None:
                    self._send(None)  # the job locks it by itself then
                else:
                    self._lend(lambda: self.accm.acquire_account(account, self))
            case "acquire-account":
                self._lend(lambda: self.accm.acquire_account(owner=self))
            case "release-account":
                self._release(argument)
                self._send("ok")
            case "log-add":
                self._send(_call_logger("add_log", *argument))
            case "log-message" | "log-aborted" | "log-succeeded":
                _call_logger("log" if command == "log-message" else command.replace("-", "_"), *argument)
            case _:
                raise RedispoolError(f"unknown command {command!r} on the pipe")

    def _send(self, answer: Any) -> None:
        with suppress(OSError):  # the job is gone; what it held goes back when its pipe closes
            self.to_child.send(answer)

    def _known(self, account_hash: Any) -> Account | None:
        """The account of that hash; an account of Exscript's class, whose hash is its address, is known by name."""
        account: Account | None = self.accm.get_account_from_hash(account_hash)
        if account is not None or self.job is None:
            return account
        own = self.job.data["host"].get_account() if "host" in self.job.data else None
        if own is None or hash(own) != account_hash:
            return None
        account = self.accm.get_account_from_hash(hash_of_name(own.get_name()))
        return account  # noqa: RET504 - its type, where nothing else is known of it

    # -- loans ---------------------------------------------------------------------------------------------------

    def _lend(self, acquire: Callable[[], Any]) -> None:
        self.watch()
        with interruptible(self._gone):
            account = acquire()
        loan = _Loan(hash(account), account, getattr(account, "lease", None))
        with self._lock:
            self._loans.append(loan)
        if self._gone.is_set():
            self.give_back()
            raise Interrupted
        key = account.get_key()
        self._send(
            (
                loan.number,
                account.get_name(),
                account.get_password(),
                account.get_authorization_password(),
                JobKey.from_fields(key.fields()) if isinstance(key, PrivateKey) else key,
            )
        )

    def _release(self, number: Any) -> None:
        with self._lock:
            loan = next((loan for loan in reversed(self._loans) if loan.number == number), None)
            if loan is None:
                raise NotHeld("this job does not hold the account; acquire it first")
            self._loans.remove(loan)
        _return(loan)

    def give_back(self) -> int:
        """Release all that the attempt holds; how many accounts that was."""
        with self._returning:  # who finds nothing left to release may say that all is released
            with self._lock:
                loans, self._loans = self._loans, []
            for loan in loans:
                try:
                    _return(loan)
                except Exception as error:  # noqa: BLE001 - the others must go back as well
                    log.warning("account %r of a job comes back by its TTL: %s", loan.account.get_name(), error)
        return len(loans)

    # -- the attempt ---------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Have the process of the job watched from now on; it may be killed before it asks for anything."""
        child = None if self.job is None else self.job.child
        with self._lock:
            is_new, self._is_watched = not self._is_watched, True
        if is_new and isinstance(child, JobProcess):
            arguments = (child, self.job.watcher)
            threading.Thread(target=self._watch, args=arguments, name="redispool-job", daemon=True).start()

    def retire(self) -> None:
        """The attempt has failed: what it has asked for is not wanted any more."""
        with self._lock:
            self._is_watched = True
        self._gone.set()

    def _watch(self, child: JobProcess, starter: threading.Thread) -> None:
        """Wait for the end of a job's process; `starter` is the thread of Exscript's that forks it."""
        while child.ident is None:  # it is being forked; or it asks us already, which its starter does not know yet
            if not starter.is_alive():
                return  # it could not be forked
            time.sleep(0.001)
        child.join()
        self._gone.set()
        self.give_back()
        for _ in range(100):  # another thread, which starts a process, may have been told the code and not noted it
            if child.exitcode is not None or not starter.is_alive():
                break
            time.sleep(0.01)
        child.end()


def _return(loan: _Loan) -> None:
    if loan.lease is not None and loan.account.lease is not loan.lease:
        raise LeaseLost(f"the lease on account {loan.account.name!r} was ended by somebody else")
    loan.account.release()


def _portable(error: Exception) -> Exception:
    """An error that survives Exscript's pipe; of others, what they say."""
    if isinstance(error, RedispoolError | redis.RedisError):
        return error
    return RedispoolError(f"{type(error).__name__}: {error}")
