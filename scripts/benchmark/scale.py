"""Large pools against a small one: what adding them takes, and what a script costs the server in them."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

import redis

from benchmark.report import Figure, Target, figure
from benchmark.server import Counters
from redispool import Account, AccountPool

if TYPE_CHECKING:
    from benchmark.settings import Settings

_BATCH = 8  # held at a time; the smallest pool has ten
_PASSWORD = "forty bytes are a password's usual length"
_PART = 10_000  # accounts that exist as objects at a time
_TARGET = Target(1.2, at_most=True)


def _pool(settings: Settings, accounts: int) -> tuple[AccountPool, float]:
    """A pool of so many accounts, and the seconds that it took to add them."""
    pool = AccountPool(name=f"{settings.prefix}:{accounts}", namespace=settings.prefix, redis=settings.url)
    seconds = 0.0
    for first in range(0, accounts, _PART):
        numbers = range(first, min(first + _PART, accounts))
        made = [Account(f"account-{number:07}", _PASSWORD) for number in numbers]
        start = time.perf_counter()
        pool.add_account(made)
        seconds += time.perf_counter() - start
    return pool, seconds


def measure(settings: Settings) -> list[Figure]:
    """The figures of scale, the pools by turns."""
    pools = {accounts: _pool(settings, accounts) for accounts in settings.pool_sizes}
    costs = defaultdict(list)
    with redis.Redis.from_url(settings.url) as observer:
        for _ in range(settings.batches):
            for accounts, (pool, _) in pools.items():
                start = Counters.read(observer)
                handles = [pool.acquire_account() for _ in range(_BATCH)]
                acquired = Counters.read(observer)
                for handle in handles:
                    handle.release()
                released = Counters.read(observer)
                acquiring, releasing = acquired.since(start), released.since(acquired)
                costs[accounts, "acquire"].append(acquiring.script_microseconds / acquiring.scripts)
                costs[accounts, "release"].append(releasing.script_microseconds / releasing.scripts)
                costs[accounts, "CPU"].append((acquiring.cpu + releasing.cpu) / _BATCH)
    small, *others = settings.pool_sizes
    return [
        *(one for accounts in others for one in _against(accounts, small, costs)),
        *(
            figure(f"adding {accounts:,} accounts in bulk", name, [value], unit)
            for accounts, (_, seconds) in pools.items()
            if accounts != small
            for name, value, unit in (("seconds", seconds, "s"), ("accounts in a second", accounts / seconds, ""))
        ),
    ]


def _against(accounts: int, small: int, costs: dict[tuple[int, str], list[float]]) -> list[Figure]:
    """What the server spends in the one pool, in what it spends in the small one in the same moment."""

    def ratios(kind: str) -> list[float]:
        return [a / b for a, b in zip(costs[accounts, kind], costs[small, kind], strict=True)]

    group = f"server time, {accounts:,} accounts against {small}"
    return [
        figure(group, "CPU of a cycle, network included", ratios("CPU"), target=_TARGET),
        figure(group, "script that acquires", ratios("acquire"), target=_TARGET),
        figure(group, "script that releases", ratios("release"), target=_TARGET),
    ]
