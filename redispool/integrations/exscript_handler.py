"""What answers the requests of one job of an `Exscript.Queue`; imported only where Exscript is installed."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - else sockets import it later, and a job forked in that instant hangs at its own
import logging
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import redis
from Exscript.queue import Queue, _call_logger, _PipeHandler  # type: ignore[import-untyped]
from Exscript.workqueue.job import Process  # type: ignore[import-untyped]

from redispool.account import Account, hash_of_name
from redispool.drivers import Interrupted, interruptible
from redispool.errors import LeaseLost, NotHeld, RedispoolError
from redispool.private_key import PrivateKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from typing import Self

    from redispool.integrations.exscript import QueueAccounts
    from redispool.lease import Lease

__all__ = ["JobProcess", "PipeHandler", "Process", "Queue"]

log = logging.getLogger("redispool")


class JobProcessDied(RedispoolError):  # noqa: N818
    """The process of a job ended without a word."""


class JobProcess(Process):  # type: ignore[misc]
    """Exscript's own, which may be told of its end by somebody else, until Exscript has its result."""

    _has_result = False
    _turn = threading.Lock()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end; Exscript does so when it has the result, and then closes the pipe that it came by."""
        with self._turn:
            self._has_result = True
        super().join(timeout)

    def wait(self) -> None:
        """Wait for the end, with no result yet."""
        super().join()

    def fail(self, renew_pipe: Callable[[], Connection]) -> None:
        """Tell Exscript in the place of a process that was killed; without a result it would wait for ever.

        Args:
            renew_pipe: makes another pipe for the requests of the next attempt, which must not take for its own an
                answer that the dead has not read.
        """
        with self._turn:
            if self._has_result:
                return
            spoilt, self.data["pipe"] = self.data["pipe"], renew_pipe()
            spoilt.close()
            error = JobProcessDied(f"the process of job {self.name!r} ended with exit code {self.exitcode}")
            with suppress(OSError):  # a job that was adopted as it ended, which Exscript had joined before
                self.pipe.send((JobProcessDied, error, f"{error}\n"))


@dataclass(frozen=True, slots=True, eq=False)
class _Loan:
    """An account that a job holds, by the number that it was told."""

    number: int
    account: Any  # an Account; or one of Exscript's, if a host brings it
    lease: Lease | None
    attempt: Any


class _Attempt:
    """One run of a job, in a thread or a process: what it holds goes back when it is gone."""

    def __init__(self, child: Any) -> None:
        self.child = child
        self.gone = threading.Event()


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
    """Exscript's own, with three differences.

    It knows which leases it gave to its job, and releases these and no others. An error is the answer to a request,
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
        self._attempt: _Attempt | None = None
        self._lock = threading.Lock()  # of the attempt and the loans
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
        attempt = self._present_attempt()
        with interruptible(attempt.gone):
            account = acquire()
        loan = _Loan(hash(account), account, getattr(account, "lease", None), attempt)
        with self._lock:
            self._loans.append(loan)
        if attempt.gone.is_set():
            self.give_back(attempt)
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

    def give_back(self, attempt: Any = None) -> int:
        """Release all that the job holds, or that one attempt at it does; how many accounts that was."""
        with self._returning:  # who finds nothing left to release may say that all is released
            with self._lock:
                loans = [loan for loan in self._loans if attempt in (None, loan.attempt)]
                self._loans = [loan for loan in self._loans if loan not in loans]
            for loan in loans:
                try:
                    _return(loan)
                except Exception as error:  # noqa: BLE001 - the others must go back as well
                    log.warning("account %r of a job comes back by its TTL: %s", loan.account.get_name(), error)
        return len(loans)

    # -- the job's process ---------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Have the process of the job watched from now on; it may be killed before it asks for anything."""
        self._present_attempt()

    def _present_attempt(self) -> _Attempt:
        child = None if self.job is None else self.job.child
        with self._lock:
            if self._attempt is None or self._attempt.child is not child:
                self._attempt = _Attempt(child)
                if isinstance(child, JobProcess):
                    arguments = (self._attempt, self.job.watcher)
                    threading.Thread(target=self._watch, args=arguments, name="redispool-job", daemon=True).start()
            return self._attempt

    def _watch(self, attempt: _Attempt, starter: threading.Thread) -> None:
        """Wait for the end of a job's process; `starter` is the thread of Exscript's that forks it."""
        child = attempt.child
        while child.ident is None:  # it is being forked; or it asks us already, which its starter does not know yet
            if not starter.is_alive():
                return  # it could not be forked
            time.sleep(0.001)
        child.wait()
        attempt.gone.set()
        self.give_back(attempt)
        while child.exitcode is None and starter.is_alive():
            time.sleep(0.01)  # another thread, which starts a process, has been told the code, and is about to note it
        if child.exitcode:
            child.fail(lambda: self.accm.create_pipe(self.job))


def _return(loan: _Loan) -> None:
    if loan.lease is not None and loan.account.lease is not loan.lease:
        raise LeaseLost(f"the lease on account {loan.account.name!r} was ended by somebody else")
    loan.account.release()


def _portable(error: Exception) -> Exception:
    """An error that survives Exscript's pipe; of others, what they say."""
    if isinstance(error, RedispoolError | redis.RedisError):
        return error
    return RedispoolError(f"{type(error).__name__}: {error}")
