"""Runs the fleet, and does to it what the schedule says."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import multiprocessing
import os
import shutil
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import redis

from fleet import worker
from fleet.faults import VOIDING
from fleet.telling import Teller
from tests.servers import ClockedServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleet.faults import Fault
    from tests.faults.proxy import Proxy
    from tests.servers import Server

LASTING = {"stop", "pause", "sleep", "delay", "black hole", "out of memory", "read only", "clock"}
KINDS = ("alone", "threads", "tasks", "alone", "threads")
ERRORS = (redis.RedisError, OSError)


class Fleet:
    """Its places, each with a process in it, and the server that they share."""

    def __init__(self, server: Server, proxy: Proxy, judge: str, pool: str, ttl: float, seed: int) -> None:
        self.server, self.proxy, self.judge, self.pool, self.ttl, self.seed = server, proxy, judge, pool, ttl, seed
        self.teller = Teller(judge)
        self.accounts: tuple[str, ...] = ()
        self.fill: Callable[[], None] = lambda: None  # gives the pool its accounts
        self.kinds: list[str] = []
        self.processes: list[Any] = []
        self._births = itertools.count(1)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["fleet.worker"])
        self._later: list[tuple[float, int, Callable[[], None]]] = []

    def start(self, workers: int) -> None:
        self.kinds = [KINDS[place % len(KINDS)] for place in range(workers)]
        self.processes = [None] * workers
        for place in range(workers):
            self.spawn(place)

    def spawn(self, place: int) -> None:
        """Every other worker is behind the proxy, and every third has a wall clock that is hours wrong."""
        birth = next(self._births)
        settings = worker.Settings(
            self.proxy.url if place % 2 else self.server.url + "?socket_timeout=1",
            self.pool, self.ttl, self.accounts, self.judge, f"w{place}-{birth}", self.kinds[place],
            f"{self.seed}.{place}.{birth}", clock=(place % 3 - 1) * 3 * 3600.0, proxied=bool(place % 2),
        )  # fmt: skip
        process = self._context.Process(target=worker.main, args=(settings,), name=settings.name, daemon=True)
        process.start()
        self.processes[place] = process
        self.teller.tell("born", worker=settings.name, proxied=bool(place % 2))

    def ensure_all_live(self) -> None:
        """One that ended without being killed has told the judge why."""
        for place, process in enumerate(self.processes):
            if not process.is_alive():
                self.spawn(place)

    # -- time ----------------------------------------------------------------------------------------------------

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._births), action))

    def until(self, moment: float) -> None:
        """Wait, doing what is due meanwhile."""
        while True:
            due = self._later[0][0] if self._later else moment
            time.sleep(max(0.0, min(due, moment) - time.monotonic()))
            if due > moment or not self._later:
                return
            heapq.heappop(self._later)[2]()

    def settle(self) -> None:
        """Do what is still to be done."""
        while self._later:
            heapq.heappop(self._later)[2]()

    # -- faults --------------------------------------------------------------------------------------------------

    def inject(self, fault: Fault) -> None:
        """Do it, and tell the judge of it and of how long it may be felt."""
        if fault.kind == "clock" and not isinstance(self.server, ClockedServer):
            return
        started = time.monotonic()
        process = self.processes[fault.victim]
        name = process.name
        getattr(self, "do_" + fault.kind.replace(" ", "_"))(fault, process)
        lasts = fault.seconds if fault.kind in LASTING else 0.0
        done = time.monotonic()
        if fault.kind in VOIDING:
            lasts += done - started + 2 * self.ttl  # when the leases of the dead end is not known for so long
        self.teller.tell(
            "fault", kind=fault.kind, start=started, done=done, end=max(done, started + lasts), worker=name
        )

    def do_kill(self, fault: Fault, process: Any) -> None:
        process.kill()
        process.join()
        self.teller.tell("killed", worker=process.name)
        with contextlib.suppress(*ERRORS):  # then it cannot be told what it held, and is not counted
            self.tell_of_abandoned(process.pid)
        self.spawn(fault.victim)

    def tell_of_abandoned(self, pid: int) -> None:
        """Tell which accounts a dead worker holds, and when these locks end: that is what their keys say."""
        start = f"redispool:{{{self.pool}}}:lock:"
        with self.server.client(socket_timeout=1) as client, client.pipeline(transaction=True) as pipeline:
            for account in self.accounts:
                pipeline.get(start + account)
                pipeline.pttl(start + account)
            now = time.monotonic()  # rather too early: an account shall not seem to be back sooner than it is
            replies = pipeline.execute()
        for account, token, left in zip(self.accounts, replies[::2], replies[1::2], strict=True):
            if token and token.decode().split(":")[1] == str(pid) and left > 0:
                self.teller.tell("abandoned", account=account, end=now + left / 1000)

    def do_stop(self, fault: Fault, process: Any) -> None:
        os.kill(process.pid, signal.SIGSTOP)

        def go_on() -> None:
            if process.is_alive():
                os.kill(process.pid, signal.SIGCONT)

        self.later(fault.seconds, go_on)

    def do_interrupt(self, _fault: Fault, process: Any) -> None:
        if process.is_alive():
            os.kill(process.pid, signal.SIGINT)

    def do_client_kill(self, _fault: Fault, _process: Any) -> None:
        self.tell_server("CLIENT", "KILL", "TYPE", "normal")

    def do_pause(self, fault: Fault, _process: Any) -> None:
        self.tell_server("CLIENT", "PAUSE", int(fault.seconds * 1000))

    def do_sleep(self, fault: Fault, _process: Any) -> None:
        threading.Thread(target=self.tell_server, args=("DEBUG", "SLEEP", fault.seconds), daemon=True).start()

    def do_flush_scripts(self, _fault: Fault, _process: Any) -> None:
        self.tell_server("SCRIPT", "FLUSH")

    def tell_server(self, *words: Any) -> None:
        with contextlib.suppress(*ERRORS), self.server.client(socket_timeout=5) as client:
            client.execute_command(*words)

    def do_restart(self, fault: Fault, _process: Any) -> None:
        self.server.kill()
        time.sleep(fault.seconds)
        self.server.start()

    def do_everysec(self, fault: Fault, process: Any) -> None:
        self.tell_server("CONFIG", "SET", "appendfsync", "everysec")
        time.sleep(fault.seconds)
        self.do_restart(fault, process)

    def do_no_file(self, fault: Fault, _process: Any) -> None:
        self.server.kill()
        shutil.rmtree(self.server.directory / "appendonlydir")
        time.sleep(fault.seconds)
        self.server.start()
        self.fill()

    def do_flush_all(self, _fault: Fault, _process: Any) -> None:
        # who fills the pool again must not have to wait for what this thread alone can end
        self.tell_server("CONFIG", "SET", "maxmemory", 0)
        self.tell_server("REPLICAOF", "NO", "ONE")
        self.tell_server("FLUSHALL")
        self.fill()

    def do_out_of_memory(self, fault: Fault, _process: Any) -> None:
        self.tell_server("CONFIG", "SET", "maxmemory", 1)
        self.later(fault.seconds, lambda: self.tell_server("CONFIG", "SET", "maxmemory", 0))

    def do_read_only(self, fault: Fault, _process: Any) -> None:
        self.tell_server("REPLICAOF", "127.0.0.1", 1)  # where nobody is
        self.later(fault.seconds, lambda: self.tell_server("REPLICAOF", "NO", "ONE"))

    def do_clock(self, fault: Fault, _process: Any) -> None:
        self.server.set_clock(60 + 60 * fault.seconds)
        self.later(fault.seconds, lambda: self.server.set_clock(0.0))

    def do_fork(self, _fault: Fault, process: Any) -> None:
        if process.is_alive():
            os.kill(process.pid, signal.SIGUSR1)

    def do_delay(self, fault: Fault, _process: Any) -> None:
        self.proxy.delay = 0.05 + fault.seconds / 5
        self.later(fault.seconds, lambda: setattr(self.proxy, "delay", 0.0))

    def do_cut(self, _fault: Fault, _process: Any) -> None:
        self.proxy.cut()

    def do_swallow(self, fault: Fault, _process: Any) -> None:
        self.proxy.lose_reply("EVALSHA", cut=fault.seconds < 0.5)

    def do_black_hole(self, fault: Fault, _process: Any) -> None:
        self.proxy.black_hole = True

        def end() -> None:
            self.proxy.black_hole = False
            self.proxy.cut()

        self.later(fault.seconds, end)
