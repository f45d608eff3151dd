"""Several accounts at once against as many one by one."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import redis

from benchmark.report import Figure, figure
from benchmark.server import Counters
from redispool import Account, AccountPool
from redispool.asyncio import AccountPool as AsyncPool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmark.settings import Settings

_OWNER = "batches"


async def _measure(settings: Settings) -> list[Figure]:
    name = f"{settings.prefix}:batches"
    most = max(settings.batch_sizes)
    one_by_one = AccountPool(
        [Account(f"account-{number}", "a secret") for number in range(most)],
        name=name, namespace=settings.prefix, redis=settings.url,
    )  # fmt: skip
    wall, server = defaultdict(list), defaultdict(list)
    with redis.Redis.from_url(settings.url) as observer:
        async with AsyncPool(name=name, namespace=settings.prefix, redis=settings.url) as pool:

            async def in_one_script(count: int) -> list[Any]:
                return await pool.acquire_accounts(count, _OWNER)

            async def pipelined(count: int) -> list[Any]:
                return await asyncio.gather(*(pool.acquire_account(owner=_OWNER) for _ in range(count)))

            async def singly(count: int) -> list[Any]:
                return [one_by_one.acquire_account(owner=_OWNER) for _ in range(count)]

            async def sample(way: Callable[[int], Awaitable[list[Any]]], count: int) -> tuple[float, float]:
                """Microseconds of an account, by the clock and of the server's CPU."""
                before, start = Counters.read(observer), time.perf_counter()
                held = await way(count)
                seconds = time.perf_counter() - start
                cpu = Counters.read(observer).since(before).cpu
                await pool.release_accounts(_OWNER)
                for lease in [handle.lease for handle in held if handle.lease is not None]:
                    lease.released = True  # by another pool, of which they cannot know
                return seconds / count * 1e6, cpu / count * 1e6

            await sample(pipelined, 1)
            await sample(singly, 1)
            for _ in range(settings.batch_rounds):
                for count in settings.batch_sizes:
                    for way in (singly, in_one_script, pipelined):
                        seconds, cpu = await sample(way, count)
                        wall[count, way.__name__].append(seconds)
                        server[count, way.__name__].append(cpu)

    def against(samples: dict[tuple[int, str], list[float]], count: int, way: str) -> list[float]:
        return [a / b for a, b in zip(samples[count, "singly"], samples[count, way], strict=True)]

    return [
        figure(f"{count} accounts at once: {what} against one by one", name, against(samples, count, way))
        for count in settings.batch_sizes
        for what, samples in (("speed", wall), ("server CPU saved", server))
        for name, way in (("acquire_accounts", "in_one_script"), ("acquire_account, pipelined by asyncio", "pipelined"))
    ]


def measure(settings: Settings) -> list[Figure]:
    """The figures of several at once, the ways by turns."""
    return asyncio.run(_measure(settings))
