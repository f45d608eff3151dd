"""A large pool against a small one: what adding it takes, and what a script costs the server in it."""

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

_SMALL = 10
_BATCH = 8  # held at a time, of the small pool's ten


def _pool(settings: Settings, accounts: int) -> tuple[AccountPool, float]:
    """A pool of so many accounts, and the seconds that it took to add them."""
    name = f"{settings.prefix}:{accounts}"
    pool = AccountPool(name=name, namespace=settings.prefix, redis=settings.url)
    made = [Account(f"account-{number:07}", "forty bytes are a password's usual length") for number in range(accounts)]
    start = time.perf_counter()
    pool.add_account(made)
    return pool, time.perf_counter() - start


def measure(settings: Settings) -> list[Figure]:
    """The figures of scale, the two pools by turns."""
    (small, _), (large, adding) = _pool(settings, _SMALL), _pool(settings, settings.accounts)
    costs = defaultdict(list)
    with redis.Redis.from_url(settings.url) as observer:
        for _ in range(settings.batches):
            for pool in (small, large):
                start = Counters.read(observer)
                handles = [pool.acquire_account() for _ in range(_BATCH)]
                acquired = Counters.read(observer)
                for handle in handles:
                    handle.release()
                released = Counters.read(observer)
                costs[pool, "acquire"].append(_per_script(acquired.since(start)))
                costs[pool, "release"].append(_per_script(released.since(acquired)))
    group = f"server time per script, {settings.accounts:,} accounts against {_SMALL}"
    target = Target(1.3, 1.2, at_most=True)
    return [
        *(
            figure(group, kind, [a / b for a, b in zip(costs[large, kind], costs[small, kind], strict=True)],
                   target=target)
            for kind in ("acquire", "release")
        ),
        figure("adding accounts in bulk", f"{settings.accounts:,} accounts", [adding], "s"),
        figure("adding accounts in bulk", "accounts in a second", [settings.accounts / adding], ""),
    ]  # fmt: skip


def _per_script(counters: Counters) -> float:
    return counters.script_microseconds / counters.scripts
