"""One logical pool in several stripes, against one of a single stripe: how fair it is still, and what a turn costs.

And how long an account is idle that comes free where nobody waits, while somebody waits at another stripe.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from math import ceil
from statistics import mean
from typing import TYPE_CHECKING

import redis

from benchmark.report import Figure, Target, figure, jain
from benchmark.server import Counters
from redispool import Account
from redispool.asyncio import StripedPool
from redispool.stripe_search import LOOK_AROUND, REACH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.settings import Settings

_HOLD = 0.005  # seconds
_ROUNDS = 30  # of the idle account, all at one time


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
    idle = asyncio.run(_all_idle(settings))
    looks = ceil((settings.stripes - 1) / REACH)  # until who waits has seen all the others
    group = f"one waits at one of {settings.stripes} stripes, an account comes free at another"
    return [
        *figures,
        figure(group, "it is idle", idle, "s"),
        figure(group, "and at the longest", [max(idle)], "s", Target(looks * LOOK_AROUND, at_most=True)),
    ]


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


async def _all_idle(settings: Settings) -> list[float]:
    rounds = [_idle(settings, f"{settings.prefix}:idle {number}") for number in range(_ROUNDS)]
    return list(await asyncio.gather(*rounds))


async def _idle(settings: Settings, name: str) -> float:
    """Seconds from a release at another stripe until who waits at the first has the account."""
    async with StripedPool(
        name, stripes=settings.stripes, home=0, redis=settings.url, namespace=settings.prefix
    ) as pool:
        names = (f"account-{number}" for number in count())
        in_each: dict[object, str] = {}
        while len(in_each) < settings.stripes:
            account = next(names)
            in_each.setdefault(pool.stripe_of(account), account)
        await pool.add_account([Account(account, "a secret") for account in in_each.values()])
        held = {account: await pool.acquire_account(account) for account in in_each.values()}
        waiting = asyncio.create_task(pool.acquire_account())
        await asyncio.sleep(random.uniform(1.0, 3.0))
        _, *elsewhere = [in_each[stripe] for stripe in pool.stripes]
        await held.pop(random.choice(elsewhere)).release()
        released = time.monotonic()
        held["found"] = await waiting
        seconds = time.monotonic() - released
        for handle in held.values():
            await handle.release()
        return seconds


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
