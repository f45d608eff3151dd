"""Choice by labels in a large pool against a small one: what it costs the server, the first time and from then on."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

import redis

from benchmark.report import Figure, Target, figure
from benchmark.server import Counters
from redispool import Account, AccountPool, PoolEmpty

if TYPE_CHECKING:
    from benchmark.settings import Settings

_CARRIERS = 100  # accounts of each label set; all sets but one are in use, which is then asked for the first time
_SMALL = 10
_BATCH = 8  # held at a time


def _labels(number: int) -> dict[str, str]:
    return {"site": f"s{number:03}", "tier": "gold"}


def _pool(settings: Settings, accounts: int, sets: int) -> AccountPool:
    """A pool in which all label sets but one were asked for: before there was much to look through."""
    name = f"{settings.prefix}:labels-{accounts}"
    pool = AccountPool(Account("first"), name=name, namespace=settings.prefix, redis=settings.url)
    for number in range(sets - 1):
        try:
            pool.acquire_account(labels=_labels(number), timeout=0).release()
        except PoolEmpty:
            continue  # no account carries them, yet
    pool.add_account(
        [Account(f"account-{number:07}", "x" * 40, labels=_labels(number % sets)) for number in range(accounts)]
    )
    return pool


def _cycle(pool: AccountPool, number: int, observer: redis.Redis) -> tuple[float, float]:
    """Server microseconds of an acquire, and of a release."""
    start = Counters.read(observer)
    handles = [pool.acquire_account(labels=_labels(number), timeout=0) for _ in range(_BATCH)]
    acquired = Counters.read(observer)
    for handle in handles:
        handle.release()
    released = Counters.read(observer)
    return (
        acquired.since(start).script_microseconds / _BATCH,
        released.since(acquired).script_microseconds / _BATCH,
    )


def measure(settings: Settings) -> list[Figure]:
    """The figures of choice by labels, the two pools by turns."""
    small = AccountPool(
        [Account(f"account-{number}", "x" * 40, labels=_labels(0)) for number in range(_SMALL)],
        name=f"{settings.prefix}:labels-{_SMALL}", namespace=settings.prefix, redis=settings.url,
    )  # fmt: skip
    sets = max(settings.accounts // _CARRIERS, 2)
    large = _pool(settings, settings.accounts, sets)
    small.acquire_account(labels=_labels(0)).release()
    costs = defaultdict(list)
    with redis.Redis.from_url(settings.url) as observer:
        for batch in range(settings.batches):
            for pool, number in ((small, 0), (large, batch % (sets - 1))):
                for kind, cost in zip(("acquire", "release"), _cycle(pool, number, observer), strict=True):
                    costs[pool, kind].append(cost)
        before, began = Counters.read(observer), time.perf_counter()
        large.acquire_account(labels=_labels(sets - 1), timeout=0).release()
        first_seconds, first = time.perf_counter() - began, Counters.read(observer).since(before)
    group = f"server time by labels, {settings.accounts:,} accounts in {sets:,} sets against 10 in 1"
    target = Target(1.3, at_most=True)
    return [
        *(
            figure(group, kind, [a / b for a, b in zip(costs[large, kind], costs[small, kind], strict=True)],
                   target=target)
            for kind in ("acquire", "release")
        ),
        figure(group, "acquire, microseconds", costs[large, "acquire"], "µs"),
        figure(group, "release, microseconds", costs[large, "release"], "µs"),
        figure("labels asked for the first time", "seconds", [first_seconds], "s"),
        figure("labels asked for the first time", "server seconds", [first.script_microseconds / 1e6], "s"),
        figure("labels asked for the first time", "script calls", [float(first.scripts)], ""),
    ]  # fmt: skip
