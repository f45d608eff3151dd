"""One logical pool in several stripes, against one of a single stripe: how fair it is still, and what a turn costs."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

import redis

from benchmark.report import Figure, figure, jain
from benchmark.server import Counters
from redispool import Account
from redispool.asyncio import StripedPool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.settings import Settings

_HOLD = 0.005  # seconds


@dataclass(frozen=True, slots=True)
class Wait:
    """One worker's one wait for an account, by the monotonic clock."""

    worker: int
    asked: float
    served: float


def measure(settings: Settings) -> list[Figure]:
    """The figures of both pools; all workers are tasks of this process."""
    figures = []
    with redis.Redis.from_url(settings.url) as observer:
        for stripes in (1, settings.stripes):
            before = Counters.read(observer)
            waits = asyncio.run(_crowd(settings, stripes))
            figures += _figures(settings, stripes, waits, Counters.read(observer).since(before).cpu)
    return figures


async def _crowd(settings: Settings, stripes: int) -> list[Wait]:
    name = f"{settings.prefix}:{stripes} stripes"
    async with AsyncExitStack() as stack:
        pools = [
            await stack.enter_async_context(
                StripedPool(name, stripes=stripes, home=home, redis=settings.url, namespace=settings.prefix)
            )
            for home in range(stripes)
        ]
        accounts = [Account(f"account-{number}", "a secret") for number in range(settings.striped_accounts)]
        await pools[0].add_account(accounts)
        end = time.monotonic() + settings.striped_seconds
        crowd = [_work(number, pools[number % stripes], end) for number in range(settings.striped_workers)]
        return [wait for waits in await asyncio.gather(*crowd) for wait in waits]


async def _work(number: int, pool: StripedPool, end: float) -> list[Wait]:
    waits = []
    while (asked := time.monotonic()) < end:
        async with pool.lease():
            waits.append(Wait(number, asked, time.monotonic()))
            await asyncio.sleep(_HOLD)
    return waits


def _figures(settings: Settings, stripes: int, waits: Sequence[Wait], cpu: float) -> list[Figure]:
    workers, accounts = settings.striped_workers, settings.striped_accounts
    turns = [sum(wait.worker == number for wait in waits) for number in range(workers)]
    seconds = [wait.served - wait.asked for wait in waits]
    group = f"{workers} workers, {accounts} accounts in {stripes} stripe{'s' * (stripes > 1)}"
    return [
        figure(group, "Jain's index", [jain(turns)], ""),
        figure(group, "longest wait over the mean", [max(seconds) / mean(seconds)], ""),
        figure(group, "waits overtaken by one who came later", [_overtaken(waits) / len(waits)], ""),
        figure(group, "turns a second", [len(waits) / settings.striped_seconds], ""),
        figure(group, "server CPU of a turn", [cpu / len(waits) * 1e6], "µs"),
    ]


def _overtaken(waits: Sequence[Wait]) -> int:
    """How many were served after one who had asked later, by more than what clocks and scheduling may confuse."""
    slack, overtaken, earliest_later = 0.002, 0, float("inf")
    for wait in sorted(waits, key=lambda wait: wait.asked, reverse=True):
        overtaken += wait.served > earliest_later + slack
        earliest_later = min(earliest_later, wait.served)
    return overtaken
