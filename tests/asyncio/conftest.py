from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from redispool import Account
from redispool.asyncio import AccountPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers import Server


@pytest.fixture
def make_pool(server: Server, pool_name: str) -> Callable[..., AccountPool]:
    """Makes the test's pool, with so many accounts 'a1', 'a2', ... or with the accounts given."""

    def make(accounts: int | list[Account] = 0, **options: Any) -> AccountPool:
        if isinstance(accounts, int):
            accounts = [Account(f"a{number}", f"secret-{number}") for number in range(1, accounts + 1)]
        return AccountPool(accounts, **{"name": pool_name, "redis": server.url, **options})

    return make


@pytest.fixture
def short_slices(monkeypatch: pytest.MonkeyPatch) -> float:
    """Pools that look after their mailboxes ten times a second."""
    monkeypatch.setattr("redispool.asyncio.pool.slice_seconds", lambda client: 0.1)
    return 0.1


async def until(condition: Callable[[], Any], seconds: float = 5.0) -> Any:
    """What the coroutine function returns, once that is true."""
    end = time.monotonic() + seconds
    while not (result := await condition()):
        assert time.monotonic() < end, f"not true within {seconds} s: {condition}"
        await asyncio.sleep(0.005)
    return result


async def queue_up(pool: AccountPool, *arguments: Any, **options: Any) -> asyncio.Task[Any]:
    """A task that stands in the queue for an account."""
    before = (await pool.status()).waiting
    task = asyncio.create_task(pool.acquire_account(*arguments, **options))

    async def waits() -> bool:
        return task.done() or (await pool.status()).waiting > before

    await until(waits)
    assert not task.done(), f"it did not wait: {task}"
    return task
