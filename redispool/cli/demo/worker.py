"""A worker of the demo, a process of its own: it leases an account, logs in with it, works, and gives it back.

Its orders and commands come as lines on stdin (a URL may hold a password, and arguments are seen by all);
it reports as lines of JSON on stdout. When stdin ends, for whatever reason, so does the worker.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from typing import IO, NoReturn

from redispool import AccountPool
from redispool.cli.login_service import LoginRefused, login

LINGER = "linger"  # the command to stay logged in until killed
_SHORTEST, _LONGEST = 0.2, 0.6  # seconds of work


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker must know; `ttl` in seconds, `port` is the login service's."""

    number: int
    url: str
    pool: str
    ttl: float
    port: int

    @property
    def owner(self) -> str:
        """How the worker is known in the pool."""
        return f"worker {self.number}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker has done; `acquired_at` by the server's clock."""

    kind: str  # waiting, leased, working, lingering, refused, failed
    account: str = ""
    fence: int = 0
    acquired_at: float = 0.0
    text: str = ""


class Worker:
    """One worker; it works in the main thread and listens for commands in another."""

    def __init__(self, orders: Orders, commands: IO[str], reports: IO[str]) -> None:
        self._orders = orders
        self._commands = commands
        self._reports = reports
        self._stopping = threading.Event()
        self._lingering = threading.Event()
        self._waiting = False

    def run(self) -> None:
        """Work until told to stop."""
        signal.signal(signal.SIGTERM, _end)
        threading.Thread(target=self._listen, name="commands", daemon=True).start()
        pool = AccountPool(name=self._orders.pool, redis=self._orders.url, ttl=self._orders.ttl)
        try:
            while not self._stopping.is_set():
                self._take_a_turn(pool)
        finally:
            pool.release_accounts(self._orders.owner)  # in case the end came just after a grant

    def report(self, news: Report) -> None:
        """Tell the demo."""
        self._reports.write(json.dumps(asdict(news)) + "\n")
        self._reports.flush()

    def _listen(self) -> None:
        for line in self._commands:
            if line.strip() == LINGER:
                self._lingering.set()
        self._stopping.set()
        if self._waiting:  # work notices by itself; a wait in line must be broken off
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def _take_a_turn(self, pool: AccountPool) -> None:
        self.report(Report("waiting"))
        self._waiting = True  # before looking: whoever says stop from here on breaks off the wait
        if self._stopping.is_set():
            return
        account = pool.acquire_account(owner=self._orders.owner)
        self._waiting = False
        with account.context():
            lease = account.lease
            if lease is None:
                raise RuntimeError("the pool gave an account without a lease")
            held = (account.name, lease.fence, lease.acquired_at)
            self.report(Report("leased", *held))
            try:
                with login(self._orders.port, account.name, account.get_password()):
                    self._work(held)
            except LoginRefused as refusal:
                self.report(Report("refused", *held, text=str(refusal)))

    def _work(self, held: tuple[str, int, float]) -> None:
        self.report(Report("working", *held))
        self._stopping.wait(random.uniform(_SHORTEST, _LONGEST))  # noqa: S311
        if self._lingering.is_set():
            self.report(Report("lingering", *held))
            self._stopping.wait()


def _end(_number: int, _frame: object) -> NoReturn:
    raise SystemExit


def main() -> int:
    """Take orders and work; the exit status."""
    line = sys.stdin.readline()
    if not line:
        return 0
    worker = Worker(Orders(**json.loads(line)), sys.stdin, sys.stdout)
    try:
        worker.run()
    except BrokenPipeError:
        return 1  # nobody is there to read our reports
    except Exception as error:  # noqa: BLE001 - whatever it is, the demo is to hear of it
        worker.report(Report("failed", text=f"{type(error).__name__}: {error}"))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
