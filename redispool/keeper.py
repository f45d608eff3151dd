"""The keeper: one thread a process that renews every lease which the process holds."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from itertools import chain
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from redispool.lease import Lease

log = logging.getLogger("redispool")

_SIGNALS = signal.valid_signals() - {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}  # a crash's own


class Schedule:
    """Which leases are to be renewed when. Knows no thread, so that any kind of keeper can follow it."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}

    def add(self, lease: Lease) -> None:
        """Renew the lease from now on."""
        self._leases[lease.token] = lease

    def forget(self, lease: Lease) -> None:
        """Renew the lease no more."""
        self._leases.pop(lease.token, None)

    def next_due(self) -> float | None:
        """When the next renewal is due, by the monotonic clock; None when there is nothing to renew."""
        due = min((lease.renew_at for lease in list(self._leases.values())), default=math.inf)
        return None if due == math.inf else due

    def due(self, now: float) -> list[list[Lease]]:
        """The leases of each pool in which one is due: a pool's are renewed together, in one call.

        They are not due again until they were renewed, or postponed. Those that were postponed to their very end are
        lost when it has come: asking for all once more, as each of a crowd ends, would keep the keeper from the others.
        """
        by_home: dict[int, list[Lease]] = defaultdict(list)
        for lease in list(self._leases.values()):
            if lease.released:  # in another event loop, or by its owner's name
                self.forget(lease)
            elif lease.renew_at == lease.valid_until <= now:
                self.lose(lease)
            else:
                by_home[id(lease.home)].append(lease)
        due = [leases for leases in by_home.values() if any(lease.renew_at <= now for lease in leases)]
        for lease in chain.from_iterable(due):
            lease.renew_at = math.inf
        return due

    def postpone(self, leases: Iterable[Lease], now: float) -> None:
        """The server could not be reached: try again soon, until a lease is really over."""
        for lease in leases:
            lease.renew_at = min(now + lease.shortest_pause, lease.valid_until)
            if now >= lease.valid_until:
                self.lose(lease)

    def lose(self, lease: Lease) -> None:
        """The lease is over; its holder is told, unless he is just giving it back."""
        if self._leases.pop(lease.token, None) is None:
            return
        try:
            lease.mark_lost()
        except (Exception, SystemExit):  # whoever calls sys.exit() there must not end the keeper of the others
            log.exception("a callback of lost_event failed")

    @contextmanager
    def renewal(self, leases: Sequence[Lease]) -> Iterator[list[Lease]]:
        """For a block that renews a pool's leases, and puts those that are over into the list that it is given."""
        lost: list[Lease] = []
        try:
            yield lost
        except Exception as error:  # noqa: BLE001 - whatever it was, the other pools' leases need the keeper
            log.warning("could not renew %d leases, trying again: %s", len(leases), error)
            self.postpone(leases, time.monotonic())
        for lease in lost:
            self.lose(lease)

    @contextmanager
    def return_of(self, lease: Lease) -> Iterator[None]:
        """For a block that gives back a lease whose handle is gone."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - it comes back by its TTL then
            log.warning("could not give back %r: %s", lease, error)


class Keeper(Schedule):
    """Follows its schedule in a daemon thread, which starts with the first lease and again after a fork."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake_at = math.inf
        # a SimpleQueue may be put to from anywhere, the garbage collector included
        self._inbox: SimpleQueue[Lease | None] = SimpleQueue()
        super().__init__()

    def watch(self, lease: Lease) -> None:
        """Renew the lease until it is released or lost."""
        self.add(lease)
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="redispool-keeper", daemon=True)
                    # the thread inherits the mask: a program's sigwait() would be in vain if we took its signals
                    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
                    try:
                        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # Ctrl-C may be raised by this, and below
                        thread.start()
                        self._thread = thread
                    finally:
                        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if lease.renew_at < self._wake_at:
            self._inbox.put(None)

    def abandon(self, lease: Lease) -> None:
        """Give back a lease whose handle is gone."""
        self.forget(lease)
        self._inbox.put(lease)

    def _run(self) -> None:
        while True:
            self._wake_at = math.inf  # before looking: whoever adds a lease from here on wakes us
            due = self.next_due()
            if due is not None:
                self._wake_at = due
            try:
                lease = self._inbox.get(timeout=None if due is None else max(0.0, due - time.monotonic()))
            except Empty:
                lease = None
            if lease is not None:
                with self.return_of(lease):
                    lease.home.give_back(lease)
            for leases in self.due(time.monotonic()):
                with self.renewal(leases) as lost:
                    lost.extend(leases[0].home.renew_leases(leases))


_keeper = Keeper()


def keeper() -> Keeper:
    """The keeper of this process."""
    return _keeper


def _after_fork() -> None:
    # threads are gone, and the leases are the parent's to renew
    global _keeper  # noqa: PLW0603
    _keeper = Keeper()


os.register_at_fork(after_in_child=_after_fork)
