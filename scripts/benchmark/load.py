"""Long queues and many leases: what a cycle costs the server beside them, against one beside none."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import redis

from benchmark.report import Figure, figure
from benchmark.server import Counters
from redispool import Account
from redispool.asyncio import AccountPool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.settings import Settings
    from redispool.asyncio.account import Handle

_HELD = 8  # accounts of a pool with a queue, all in use
_LEASED_AT_ONCE = 500
_TTL = 3600  # seconds; so that nothing is renewed meanwhile


class _Line:
    """A pool and so many tasks that wait for its accounts, where there are any."""

    def __init__(self, settings: Settings, waiters: int) -> None:
        self.waiters = waiters
        name = f"{settings.prefix}:line-{waiters}"
        accounts = [Account(f"account-{number}", "a secret") for number in range(_HELD)]
        self._queue = f"{settings.prefix}:{{{name}}}:queue"
        self._pool = AccountPool(
            accounts, name=name, namespace=settings.prefix, redis=settings.url, ttl=_TTL, auto_renew=False
        )
        self._held: deque[Handle] = deque()
        self._waiting: deque[asyncio.Task[Handle]] = deque()

    async def fill(self, observer: redis.Redis) -> None:
        self._held += [await self._pool.acquire_account() for _ in range(_HELD)]
        self._waiting += [asyncio.create_task(self._pool.acquire_account()) for _ in range(self.waiters)]
        await self._settle(observer)

    async def turn(self, observer: redis.Redis) -> float:
        """Server microseconds of the scripts in a cycle: all that are held are handed on, and who had them waits."""
        before = Counters.read(observer)
        for _ in range(_HELD):
            await self._held.popleft().release()
            if self.waiters:
                self._held.append(await self._waiting.popleft())
                self._waiting.append(asyncio.create_task(self._pool.acquire_account()))
            else:
                self._held.append(await self._pool.acquire_account())
        await self._settle(observer)
        return Counters.read(observer).since(before).script_microseconds / _HELD

    async def _settle(self, observer: redis.Redis) -> None:
        """Wait until all of the tasks stand in the queue."""
        while observer.zcard(self._queue) < self.waiters:  # noqa: ASYNC110 - only the server knows
            await asyncio.sleep(0.001)

    async def leave(self) -> None:
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)
        for handle in self._held:
            await handle.release()
        await self._pool.aclose()


async def _queues(settings: Settings, observer: redis.Redis) -> list[Figure]:
    lines = [_Line(settings, waiters) for waiters in (0, *settings.queue_sizes)]
    costs: dict[int, list[float]] = {line.waiters: [] for line in lines}
    for line in lines:
        await line.fill(observer)
    for _ in range(settings.batches):
        for line in lines:
            costs[line.waiters].append(await line.turn(observer))
    for line in lines:
        await line.leave()
    return _figures("server time of the scripts in a cycle beside waiters", "waiting", costs)


class _Leased:
    """A pool of which so many accounts are leased, and a few more are free."""

    def __init__(self, settings: Settings, leases: int) -> None:
        self.leases = leases
        name = f"{settings.prefix}:leased-{leases}"
        self._pool = AccountPool(name=name, namespace=settings.prefix, redis=settings.url, ttl=_TTL, auto_renew=False)

    async def fill(self) -> None:
        await self._pool.add_account([Account(f"account-{n:07}", "a secret") for n in range(self.leases + _HELD)])
        self._handles: list[Handle] = []
        while (missing := self.leases - len(self._handles)) > 0:
            # acquire_accounts would be quicker, but a pool that was ever asked for several has more to look after
            asking = [self._pool.acquire_account(owner="others") for _ in range(min(_LEASED_AT_ONCE, missing))]
            self._handles += await asyncio.gather(*asking)

    async def turn(self, observer: redis.Redis) -> float:
        """Server microseconds of the scripts in a cycle."""
        before = Counters.read(observer)
        for handle in [await self._pool.acquire_account() for _ in range(_HELD)]:
            await handle.release()
        return Counters.read(observer).since(before).script_microseconds / _HELD

    async def leave(self) -> None:
        for handle in self._handles:
            handle.lease.released = True  # the run's end removes their keys, which is quicker than to release each
        await self._pool.aclose()


async def _leases(settings: Settings, observer: redis.Redis) -> list[Figure]:
    pools = [_Leased(settings, leases) for leases in (0, *settings.lease_sizes)]
    costs: dict[int, list[float]] = {pool.leases: [] for pool in pools}
    for pool in pools:
        await pool.fill()
    for _ in range(settings.batches):
        for pool in pools:
            costs[pool.leases].append(await pool.turn(observer))
    for pool in pools:
        await pool.leave()
    return _figures("server time of the scripts in a cycle beside leases", "leased", costs)


def _figures(group: str, what: str, costs: dict[int, list[float]]) -> list[Figure]:
    def ratios(samples: Sequence[float]) -> list[float]:
        return [a / b for a, b in zip(samples, costs[0], strict=True)]

    return [
        figure(group, f"none {what}", costs[0], "µs"),
        *(figure(group, f"{size:,} {what}, against none", ratios(costs[size])) for size in costs if size),
    ]


def measure(settings: Settings) -> list[Figure]:
    """The figures of long queues and of many leases, the pools by turns."""

    async def both() -> list[Figure]:
        with redis.Redis.from_url(settings.url) as observer:
            return [*await _queues(settings, observer), *await _leases(settings, observer)]

    return asyncio.run(both())
