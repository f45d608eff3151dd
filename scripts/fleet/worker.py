"""A process of the fleet: it asks for accounts, uses them for a while and tells the judge, until somebody stops it."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import threading
import time
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import redis

import redispool.asyncio
from fleet.telling import Teller
from redispool import AccountPool, AcquireTimeout, LeaseLost, NotHeld, PoolEmpty, UnknownAccount

if TYPE_CHECKING:
    from collections.abc import Callable

    from redispool.lease import Handle

OUTAGE = (redis.ConnectionError, redis.TimeoutError, redis.ResponseError, OSError)
EMPTIED = 0.05  # seconds to wait when the pool has no accounts, until somebody has added them again
CHILD = 15  # errands of a forked child
THREADS, TASKS = 4, 6
PATIENCE = 3.0  # seconds


@dataclass(frozen=True, slots=True)
class Settings:
    """What a worker is told when it is started.

    Attributes:
        name: of this process; nobody else has it.
        kind: 'alone' works in its main thread, and Ctrl-C may come at any moment; 'threads' and 'tasks' are many.
        seed: what it does follows from this.
        clock: seconds by which its wall clock is wrong.
        proxied: whether it is behind the proxy.
    """

    url: str
    pool: str
    ttl: float
    accounts: tuple[str, ...]
    judge: str
    name: str
    kind: str
    seed: str
    clock: float = 0.0
    proxied: bool = False


@dataclass(frozen=True, slots=True)
class Errand:
    """One use of an account, as it is meant to be."""

    owner: str
    want: str | None
    timeout: float | None
    seconds: float
    fails: bool
    patience: float  # seconds after which a task is cancelled


class Mishap(Exception):  # noqa: N818 - it is raised on purpose
    """What goes wrong while the account is in use."""


class Work:
    """What all kinds of workers have in common."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.teller = Teller(settings.judge)
        self.options = {"name": settings.pool, "redis": settings.url, "ttl": settings.ttl, "patience": PATIENCE}

    def errand(self, dice: random.Random, number: str) -> Errand:
        """The next thing to do."""
        errand = Errand(
            f"{self.settings.name}.{number}",
            dice.choice(self.settings.accounts) if dice.random() < 0.15 else None,
            dice.choice([0, 0.2, 1, 5, 15, 15, None]),
            dice.uniform(2, 3) * self.settings.ttl if dice.random() < 0.01 else dice.expovariate(1 / 0.03),
            dice.random() < 0.03,
            dice.expovariate(1 / 0.3) if dice.random() < 0.1 else 60.0,
        )
        self.teller.tell("ask", owner=errand.owner, worker=self.settings.name, want=errand.want or "")
        return errand

    def began(self, errand: Errand, account: Handle) -> None:
        lease = account.lease
        self.teller.tell(
            "begin", owner=errand.owner, account=account.name, fence=lease.fence, until=lease.valid_until
        )  # fmt: skip

    def step(self, errand: Errand, account: Handle, until: float, end: float) -> float | None:
        """How long to go on before looking again, telling of a renewal; None when the use is over."""
        lease = account.lease
        if lease.valid_until != until:
            self.teller.tell("renewed", owner=errand.owner, until=lease.valid_until)
        left = end - time.monotonic()
        if left <= 0 or lease.lost:
            return None
        return min(left, self.settings.ttl / 10)

    def gone(self, errand: Errand, error: BaseException) -> None:
        self.teller.tell("gone", owner=errand.owner, why=type(error).__name__, text=str(error)[:200])


class Alone(Work):
    """Works in the main thread; Ctrl-C interrupts it wherever the library, or the use of an account, may be."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.pool = AccountPool(**self.options)
        self._exposed = False
        self._forks: SimpleQueue[int] = SimpleQueue()  # that are due
        self._children = itertools.count(1)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
        signal.signal(signal.SIGUSR1, lambda *_: self._forks.put(next(self._children)))

    def interrupt(self, *_: Any) -> None:
        if self._exposed:
            self._exposed = False  # it may strike where exposed() is about to say so
            raise KeyboardInterrupt

    def exposed(self, call: Callable[[], Any]) -> Any:
        """Call where Ctrl-C may strike; what it interrupts is not to be reported half."""
        self._exposed = True
        try:
            return call()
        finally:
            self._exposed = False

    def run(self) -> None:
        signal.signal(signal.SIGINT, self.interrupt)
        self.many_errands("m")

    def many_errands(self, thread: str) -> None:
        dice = random.Random(f"{self.settings.seed}.{thread}")
        number = 0
        while True:
            number += 1
            self.run_errand(self.errand(dice, f"{thread}{number}"))

    def run_errand(self, errand: Errand) -> None:
        try:
            account = self.exposed(lambda: self.pool.acquire_account(errand.want, errand.owner, timeout=errand.timeout))
        except (AcquireTimeout, *OUTAGE) as error:
            return self.gone(errand, error)
        except (PoolEmpty, UnknownAccount) as error:
            self.gone(errand, error)
            return time.sleep(EMPTIED)
        except KeyboardInterrupt as error:
            # between the return of a call and the name that keeps its result, no library can help
            return self.teller.tell(
                "interrupted", owner=errand.owner, freed=self.free(errand), why=type(error).__name__
            )
        self.began(errand, account)
        self.fork_if_due(account)
        try:
            self.exposed(lambda: self.use(errand, account))
        except (Mishap, KeyboardInterrupt) as error:
            self.teller.tell("mishap", owner=errand.owner, why=type(error).__name__)
        self.teller.tell("end", owner=errand.owner)
        try:
            self.exposed(account.release)
        except (LeaseLost, *OUTAGE) as error:
            self.gone(errand, error)
        except KeyboardInterrupt:  # it may have come before the first step of release()
            self.free(errand)
        return None

    def fork_if_due(self, account: Handle) -> None:
        try:
            number = self._forks.get_nowait()
        except Empty:
            return
        parent = os.getpid()
        if not os.fork():
            try:
                self.be_child(number, account, parent)
            except BaseException as error:  # noqa: BLE001 - it is told, and must not go on as the parent
                self.teller.tell("crashed", worker=self.settings.name, why=f"{type(error).__name__}: {error}")
            finally:
                os._exit(0)

    def be_child(self, number: int, account: Handle, parent: int) -> None:
        """Leave the parent's lease alone, and run some errands with the parent's pool."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._forks = SimpleQueue()
        self.settings = replace(self.settings, name=f"{self.settings.name}+{number}")
        self.teller = Teller(self.settings.judge)
        self.teller.tell("born", worker=self.settings.name, proxied=self.settings.proxied)
        try:
            account.release()
        except NotHeld:
            dice = random.Random(f"{self.settings.seed}.child{number}")
            for one in range(CHILD):
                if os.getppid() != parent:
                    return  # it was killed
                self.run_errand(replace(self.errand(dice, f"c{one}"), timeout=0.5, seconds=0.05))
        else:
            raise AssertionError("a child released its parent's lease")

    def free(self, errand: Errand) -> int:
        try:
            return self.pool.release_accounts(errand.owner)
        except OUTAGE:
            return 0

    def use(self, errand: Errand, account: Handle) -> None:
        end = time.monotonic() + errand.seconds
        until = account.lease.valid_until
        while (pause := self.step(errand, account, until, end)) is not None:
            until = account.lease.valid_until
            time.sleep(pause)
        if errand.fails:
            raise Mishap


class Threads(Alone):
    """Some threads that share a pool object."""

    def run(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threads = [threading.Thread(target=self.many_errands, args=(f"t{n}-",)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Tasks(Work):
    """Some tasks of an event loop, which are cancelled now and then."""

    def run(self) -> None:
        asyncio.run(self.all_tasks())

    async def all_tasks(self) -> None:
        self.pool = redispool.asyncio.AccountPool(**self.options)
        await asyncio.gather(*(self.many_errands(f"a{n}-") for n in range(TASKS)))

    async def many_errands(self, task: str) -> None:
        dice = random.Random(f"{self.settings.seed}.{task}")
        number = 0
        while True:
            number += 1
            await self.run_errand(self.errand(dice, f"{task}{number}"))

    async def run_errand(self, errand: Errand) -> None:
        account = None
        try:
            async with asyncio.timeout(errand.patience):
                account = await self.pool.acquire_account(errand.want, errand.owner, timeout=errand.timeout)
                self.began(errand, account)
                await self.use(errand, account)
        except (PoolEmpty, UnknownAccount) as error:
            self.gone(errand, error)
            return await asyncio.sleep(EMPTIED)
        except (AcquireTimeout, *OUTAGE) as error:
            if account is None and type(error) is not TimeoutError:
                return self.gone(errand, error)
            if account is None:
                freed = await self.free(errand)
                return self.teller.tell("interrupted", owner=errand.owner, freed=freed, why="cancelled")
            self.teller.tell("mishap", owner=errand.owner, why="cancelled")
        except Mishap as error:
            self.teller.tell("mishap", owner=errand.owner, why=type(error).__name__)
        self.teller.tell("end", owner=errand.owner)
        try:
            await account.release()
        except (LeaseLost, *OUTAGE) as error:
            self.gone(errand, error)
        return None

    async def free(self, errand: Errand) -> int:
        try:
            return await self.pool.release_accounts(errand.owner)
        except OUTAGE:
            return 0

    async def use(self, errand: Errand, account: Any) -> None:
        end = time.monotonic() + errand.seconds
        until = account.lease.valid_until
        while (pause := self.step(errand, account, until, end)) is not None:
            until = account.lease.valid_until
            await asyncio.sleep(pause)
        if errand.fails:
            raise Mishap


KINDS = {"alone": Alone, "threads": Threads, "tasks": Tasks}


def main(settings: Settings) -> None:
    """Work, until killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C may strike only where it is looked for
    os.nice(10)  # the machine is shared, and the server comes first
    if settings.clock:
        real = time.time
        time.time = lambda: real() + settings.clock
    try:
        KINDS[settings.kind](settings).run()
    except BaseException as error:
        Teller(settings.judge).tell("crashed", worker=settings.name, why=f"{type(error).__name__}: {error}")
        raise
    finally:
        os._exit(1)  # only what nobody expected comes here
