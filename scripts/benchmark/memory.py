"""What an account, a lease and a waiter take of the server's memory: by how much it grows with many of them."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from typing import TYPE_CHECKING

import redis

from benchmark.report import Figure, Target, figure
from redispool import Account, AccountPool
from redispool.asyncio import AccountPool as AsyncPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmark.settings import Settings

_TTL = 3600  # seconds; so that nothing is renewed meanwhile
_KEYS = ("accounts", "hashes", "places", "members", "rotation")
_GROUP = "the server's memory"


def measure(settings: Settings) -> list[Figure]:
    """The figures of memory; nothing else must happen on the server."""
    with redis.Redis.from_url(settings.url) as observer:
        of_accounts, *by_key = _accounts(settings, observer)
        return [
            of_accounts,
            *_leases(settings, observer),
            *asyncio.run(_tasks(settings, observer)),
            *_threads(settings, observer),
            *by_key,
        ]


def _open(settings: Settings, what: str, accounts: int) -> AccountPool:
    """A pool without an audit trail, which has a bound of its own and is no part of what grows."""
    pool = AccountPool(
        name=f"{settings.prefix}:memory-of-{what}", namespace=settings.prefix, redis=settings.url, ttl=_TTL,
        auto_renew=False, history=0,
    )  # fmt: skip
    # 40 bytes, no two alike
    pool.add_account([Account(f"account-{number:07}", secrets.token_hex(20)) for number in range(accounts)])
    return pool


def _used(observer: redis.Redis) -> int:
    return int(observer.info("memory")["used_memory"])


def _accounts(settings: Settings, observer: redis.Redis) -> list[Figure]:
    count = settings.memory_accounts
    before = _used(observer)
    pool = _open(settings, "accounts", count)
    each = (_used(observer) - before) / count
    what = f"of an idle account, by {count:,} of them"
    of_keys = [
        figure(f"{_GROUP} {what}: by key", name, [_of_key(observer, settings, pool, name) / count], "bytes")
        for name in _KEYS
    ]
    return [figure(_GROUP, what, [each], "bytes", Target(400, at_most=True)), *of_keys]


def _of_key(observer: redis.Redis, settings: Settings, pool: AccountPool, name: str) -> int:
    return observer.memory_usage(f"{settings.prefix}:{{{pool.name}}}:{name}", samples=0) or 0


def _leases(settings: Settings, observer: redis.Redis) -> list[Figure]:
    count = settings.memory_leases
    pool = _open(settings, "leases", count)
    before = _used(observer)
    held = [pool.acquire_account(owner=f"worker-{number}") for number in range(count)]
    each = (_used(observer) - before) / count
    for handle in held:
        handle.release()
    return [figure(_GROUP, f"of a lease, each of an owner of its own, by {count:,} of them", [each], "bytes")]


async def _tasks(settings: Settings, observer: redis.Redis) -> list[Figure]:
    count = settings.memory_waiters
    blocking = _open(settings, "tasks", 1)
    async with AsyncPool(
        name=blocking.name, namespace=settings.prefix, redis=settings.url, ttl=_TTL, auto_renew=False
    ) as pool:
        held = await pool.acquire_account()
        before = _used(observer)
        tasks = [asyncio.create_task(pool.acquire_account()) for _ in range(count)]
        while observer.zcard(f"{settings.prefix}:{{{pool.name}}}:queue") < count:  # noqa: ASYNC110 - only the server knows
            await asyncio.sleep(0.01)
        each = (_used(observer) - before) / count
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await held.release()
    return [figure(_GROUP, f"of a waiting task, by {count:,} of them", [each], "bytes")]


def _threads(settings: Settings, observer: redis.Redis) -> list[Figure]:
    count = settings.memory_threads
    pool = _open(settings, "threads", 1)
    queue = f"{settings.prefix}:{{{pool.name}}}:queue"
    with pool.lease():
        before, clients = _used(observer), _connections(observer)
        threads = [threading.Thread(target=_take_a_turn, args=(pool,)) for _ in range(count)]
        for thread in threads:
            thread.start()
        _wait(lambda: int(observer.zcard(queue)) == count)
        each, opened = (_used(observer) - before) / count, _connections(observer) - clients
    for thread in threads:
        thread.join()
    what = f"of a waiting thread, its connection included, by {count} of them"
    return [
        figure(_GROUP, what, [each], "bytes"),
        figure("connections", f"of {count} threads that wait in one process", [float(opened)], ""),
    ]


def _take_a_turn(pool: AccountPool) -> None:
    with pool.lease():
        pass


def _connections(observer: redis.Redis) -> int:
    return int(observer.info("clients")["connected_clients"])


def _wait(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)
