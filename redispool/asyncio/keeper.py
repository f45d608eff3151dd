"""The keeper under asyncio: one task an event loop that renews the leases taken in it."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redispool.keeper import Schedule

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from redispool.lease import Lease


class Keeper(Schedule):
    """Follows its schedule in a task, which lives as long as there is something to renew or to give back.

    Args:
        loop: its event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._task: asyncio.Task[None] | None = None
        self._abandoned: deque[Lease] = deque()
        self._jobs: set[asyncio.Task[None]] = set()  # a server that hangs must not make us late for the others
        self._changed = asyncio.Event()
        self._wake_at = math.inf  # by itself, by the monotonic clock

    def watch(self, lease: Lease) -> None:
        """Renew the lease until it is released or lost."""
        self.add(lease)
        if lease.renew_at < self._wake_at:  # else the task, which looks at all leases, need not look now
            self._wake()

    def abandon(self, lease: Lease) -> None:
        """Give back a lease whose handle is gone."""
        self._abandoned.append(lease)
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._changed.set()
        if self._task is None:
            self._task = self._loop.create_task(self._run(), name="redispool-keeper")

    async def _run(self) -> None:
        try:
            while True:
                self._changed.clear()
                while self._abandoned:
                    self._start(self._give_back(self._abandoned.popleft()))
                for leases in self.due(time.monotonic()):
                    self._start(self._renew(leases))
                due = self.next_due()
                self._wake_at = math.inf if due is None else due
                if due is None and not self._jobs:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if due is None else max(due - time.monotonic(), 0.0)):
                        await self._changed.wait()
        finally:
            self._task, self._wake_at = None, math.inf

    def _start(self, job: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(job, name="redispool-keeper-job")
        self._jobs.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._jobs.discard(task)
        self._changed.set()

    async def _renew(self, leases: list[Lease]) -> None:
        with self.renewal(leases) as lost:
            lost.extend(await leases[0].home.renew_leases(leases))

    async def _give_back(self, lease: Lease) -> None:
        with self.return_of(lease):
            await lease.home.give_back(lease)


_keepers: dict[asyncio.AbstractEventLoop, Keeper] = {}


def keeper() -> Keeper:
    """The keeper of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _keepers.get(loop)
    if found is None:
        for other in [other for other in _keepers if other.is_closed()]:
            del _keepers[other]
        found = _keepers[loop] = Keeper(loop)
    return found


def abandon(lease: Lease) -> None:
    """Have a lease given back whose handle is gone; called from anywhere, the garbage collector included.

    Where no event loop is left, the account comes back by its TTL.
    """
    running = asyncio._get_running_loop()  # noqa: SLF001 - the public one raises where there is none
    open_keepers = [found for loop, found in list(_keepers.items()) if not loop.is_closed()]
    for found in open_keepers:
        found.forget(lease)
    if running is not None:
        keeper().abandon(lease)
    elif open_keepers:
        open_keepers[0].abandon(lease)


def _after_fork() -> None:
    # the loops, and the leases, are the parent's
    global _keepers  # noqa: PLW0603
    _keepers = {}


os.register_at_fork(after_in_child=_after_fork)
