"""Event loops come and go: a pool serves each, and leaves nothing in them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading

import pytest
import redis

from redispool import NotHeld
from redispool.protocol.commands import Plain
from tests.conftest import wait_until

from .conftest import queue_up


def run_script(text, *arguments):
    """Runs a program in which every warning, and every task that is left behind, would be seen."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(text), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]  # that is the load
    assert (complaints, done.returncode) == ([], 0)
    return done.stdout.split()


def test_one_pool_serves_one_loop_after_the_other(make_pool):
    pool = make_pool(2)

    async def use():
        async with pool.lease() as account:
            return account.name

    assert [asyncio.run(use()) for _ in range(4)] == ["a1", "a2", "a1", "a2"]
    asyncio.run(pool.aclose())


def test_loops_in_several_threads_share_a_pool(make_pool):
    pool = make_pool(1)
    served = []

    async def work(number):
        async with pool.lease() as account:
            served.append((number, account.lease.fence))
        await pool.aclose()

    threads = [threading.Thread(target=asyncio.run, args=(work(number),)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(number for number, _ in served) == list(range(5))
    assert len({fence for _, fence in served}) == 5


def test_a_loop_that_ends_while_tasks_wait_leaves_neither_waiters_nor_connections(server, pool_name):
    run_script(
        """
        import asyncio, sys, time
        import redis
        from redispool import Account
        from redispool.asyncio import AccountPool

        pool = AccountPool([Account("a1")], name=sys.argv[2], redis=sys.argv[1] + "?client_name=mine")

        async def leave_waiters():
            held = await pool.acquire_account()
            for _ in range(30):
                asyncio.create_task(pool.acquire_account())
            while (await pool.status()).waiting < 30:
                await asyncio.sleep(0.01)
            return held

        async def look(held):
            status = await pool.status()
            assert (status.waiting, status.held) == (0, 1), status
            await held.release()

        def connections():
            return [row["name"] for row in client.client_list() if row["name"] == "mine"]

        with redis.Redis.from_url(sys.argv[1]) as client:
            for _ in range(2):
                held = asyncio.run(leave_waiters())
                while connections():
                    time.sleep(0.01)
                asyncio.run(look(held))
        """,
        server.url,
        pool_name,
    )


def test_a_loop_that_is_closed_without_a_word_leaves_waiters_that_count_as_dead_soon(make_pool, short_slices):
    pool = make_pool(1)

    async def leave_a_waiter():
        held = await pool.acquire_account()
        await queue_up(pool)
        return held

    loop = asyncio.new_event_loop()
    held = loop.run_until_complete(leave_a_waiter())
    loop.close()

    async def go_on():
        await held.release()
        async with pool.lease(timeout=5) as account:
            assert account.name == "a1"
        await pool.aclose()

    wait_until(lambda: asyncio.run(waiting_dead(pool)), 5)
    asyncio.run(go_on())


async def waiting_dead(pool):
    """Whether the mailbox of a loop that is gone shows no more life."""
    try:
        return not await pool.run(_alive(pool))
    finally:
        await pool.aclose()


def _alive(pool):
    keys = yield from pool.operations.flows.channel.send(Plain(("KEYS", f"redispool:{{{pool.name}}}:alive:*")))
    return keys[1]


def test_a_forked_child_has_connections_of_its_own_and_none_of_the_leases(server, pool_name):
    words = run_script(
        """
        import asyncio, os, sys
        from redispool import Account, NotHeld
        from redispool.asyncio import AccountPool

        pool = AccountPool([Account("a1"), Account("a2")], name=sys.argv[2], redis=sys.argv[1])
        private = AccountPool([Account("mine")], redis=sys.argv[1])

        async def acquire():
            await private.n_accounts()
            return await pool.acquire_account()

        async def in_child(held):
            try:
                await held.release()
            except NotHeld as error:
                assert "forked" in str(error), error
            async with pool.lease() as account:
                print(account.name, flush=True)
            await pool.aclose()

        async def in_parent(held):
            await held.release()
            status = await pool.status()
            assert (status.free, status.held) == (2, 0), status
            assert await private.n_accounts() == 1
            await private.aclose()
            await pool.aclose()

        held = asyncio.run(acquire())
        child = os.fork()
        if child == 0:
            asyncio.run(in_child(held))
            sys.exit()
        assert os.waitpid(child, 0)[1] == 0
        asyncio.run(in_parent(held))
        """,
        server.url,
        pool_name,
    )
    assert words == ["a2"]


def test_a_private_pool_goes_with_its_pool_object_its_block_or_its_process(server, client):
    script = """
        import asyncio, sys
        from redispool import Account
        from redispool.asyncio import AccountPool

        async def use():
            async with AccountPool([Account("a1")], redis=sys.argv[1]) as pool:
                print(pool.name)
            pool = AccountPool([Account("a1")], redis=sys.argv[1])
            print(pool.name)
            assert await pool.n_accounts() == 1
            return AccountPool([Account("a1")], redis=sys.argv[1])

        pool = asyncio.run(use())
        print(pool.name)
        assert asyncio.run(pool.n_accounts()) == 1
        """
    names = run_script(script, server.url)
    assert len(set(names)) == 3
    for name in names:
        assert client.keys(f"redispool:{{{name}}}:*") == []
        assert not client.sismember("redispool:pools", name)


def test_nothing_is_sent_before_the_first_await(make_pool):
    pool = make_pool(1, redis="redis://127.0.0.1:1/0")
    with pytest.raises(redis.ConnectionError):
        asyncio.run(pool.n_accounts())


def test_a_lease_of_one_loop_can_be_released_in_another(make_pool):
    pool = make_pool(1)
    account = asyncio.run(pool.acquire_account())

    async def release():
        await account.release()
        with pytest.raises(NotHeld):
            await account.release()
        assert (await pool.status()).free == 1
        await pool.aclose()

    asyncio.run(release())
