"""One task an event loop renews what is held in it, tells what was lost, and gives back what was dropped."""

from __future__ import annotations

import asyncio
import gc
import signal

import pytest

from redispool import LeaseLost
from redispool.asyncio.keeper import Keeper

from .conftest import until


def test_leases_of_several_pools_are_kept_by_one_task(make_pool):
    async def hold():
        async with make_pool(1, ttl=0.3) as one, make_pool(1, name="kept-too", ttl=0.3) as two:
            async with one.lease() as first, two.lease() as second:
                await asyncio.sleep(1)
                assert not first.lease.lost
                assert not second.lease.lost
                names = [task.get_name() for task in asyncio.all_tasks()]
                assert names.count("redispool-keeper") == 1
            await two.reset()

    asyncio.run(hold())


def test_a_lost_lease_is_told_in_the_loop_and_at_the_end_of_its_block(make_pool, client, pool_name):
    async def lose():
        async with make_pool(1, ttl=0.3) as pool:
            told = asyncio.get_running_loop().create_future()
            with pytest.raises(LeaseLost):  # noqa: PT012 - the end of the block raises
                async with pool.lease() as account:
                    account.lease.lost_event.connect(told.set_result)
                    client.delete(f"redispool:{{{pool_name}}}:lock:a1")
                    assert await asyncio.wait_for(told, 2) is account.lease
                    assert account.lease.lost

    asyncio.run(lose())


def test_the_keeper_looks_at_all_leases_when_one_is_due_and_not_for_each_that_is_new(make_pool, monkeypatch):
    looks = []
    next_due = Keeper.next_due

    def counted(keeper):
        looks.append(len(keeper._leases))
        return next_due(keeper)

    monkeypatch.setattr(Keeper, "next_due", counted)

    async def acquire_many():
        async with make_pool(50, ttl=60) as pool:
            handles = [await pool.acquire_account() for _ in range(50)]
            assert 1 <= len(looks) < 5
            await handles.pop().release()
            sooner = await pool.acquire_account(ttl=0.3)
            await asyncio.sleep(1)
            assert not sooner.lease.lost  # though the keeper would have looked in 20 seconds only
            await asyncio.gather(*(handle.release() for handle in [*handles, sooner]))

    asyncio.run(acquire_many())


def test_a_lease_can_be_renewed_by_hand(make_pool):
    async def renew():
        async with make_pool(1, ttl=1, auto_renew=False) as pool, pool.lease() as account:
            before = account.lease.expires_at
            await account.lease.renew(ttl=30)
            assert account.lease.expires_at > before + 25

    asyncio.run(renew())


def test_a_handle_that_was_dropped_goes_back(make_pool):
    async def drop():
        async with make_pool(1) as pool:
            with pytest.warns(ResourceWarning, match="dropped without release"):  # noqa: PT031 - the second warns
                await pool.acquire_account()
                gc.collect()

            async def is_free():
                return (await pool.status()).free == 1

            await until(is_free)

    asyncio.run(drop())


def test_a_server_that_hangs_does_not_make_the_keeper_late_for_another(own_server, make_pool):
    hanging = own_server()

    async def hold():
        good, bad = make_pool(1, ttl=0.6), make_pool(1, redis=hanging.url, ttl=0.6)
        async with good, bad, good.lease() as account:
            stuck = await bad.acquire_account()
            hanging.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(2.5)
                assert not account.lease.lost
                assert stuck.lease.lost
            finally:
                hanging.signal(signal.SIGCONT)
            with pytest.raises(LeaseLost):
                await stuck.release()

    asyncio.run(hold())
