"""Many tasks of one process wait at one mailbox, over a few connections, and cost next to nothing while they do."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import psutil

from redispool import Account, PoolEmpty
from redispool import AccountPool as BlockingPool
from redispool.asyncio import AccountPool
from redispool.asyncio.mailbox import Mailbox

from .conftest import queue_up, until


def connections(client):
    """How many there are besides the client's own."""
    return len(client.client_list()) - 1


def scripts_run(client):
    return sum(row["calls"] for name, row in client.info("commandstats").items() if name.startswith("cmdstat_eval"))


async def all_wait(pool, count):
    async def waiting():
        return (await pool.status()).waiting >= count

    await until(waiting, 60)


def test_ten_thousand_tasks_on_fifty_accounts_are_served_in_order_over_four_connections(own_server):
    server = own_server()
    client = server.client()
    me, it = psutil.Process(), psutil.Process(server.process.pid)
    served = []
    at_first = me.memory_info().rss  # other tests may have run in this process

    def cpu(process):
        times = process.cpu_times()
        return times.user + times.system

    async def work(pool, number):
        async with pool.lease():
            served.append(number)

    async def crowd():
        async with AccountPool([Account(f"a{n}") for n in range(50)], redis=server.url, name="crowd") as pool:
            held = [await pool.acquire_account() for _ in range(50)]
            began = cpu(me), cpu(it)
            async with asyncio.TaskGroup() as group:
                for number in range(10_000):
                    group.create_task(work(pool, number))
                await all_wait(pool, 10_000)
                before, calls = (cpu(me), cpu(it)), scripts_run(client)
                await asyncio.sleep(3)  # a look at what waiting costs
                idle, idle_calls = (cpu(me) - before[0], cpu(it) - before[1]), scripts_run(client) - calls
                most = connections(client)
                for account in held:
                    await account.release()
            print(
                f"\n10,000 tasks: {most} connections, {me.memory_info().rss / 1e6:.0f} MB; CPU seconds of process and "
                f"server: {idle[0]:.2f} and {idle[1]:.2f} in 3 s of waiting ({idle_calls} scripts), "
                f"{cpu(me) - began[0]:.1f} and {cpu(it) - began[1]:.1f} in all"
            )
            assert max(most, connections(client)) <= 4
            assert idle_calls < 100  # not one for each that waits
            assert (await pool.status()).free == 50

    asyncio.run(crowd())
    assert served == list(range(10_000))
    assert me.memory_info().rss - at_first < 300e6
    client.close()


def test_tasks_and_threads_are_served_in_the_order_in_which_they_came(make_pool, server, pool_name):
    blocking = BlockingPool(name=pool_name, redis=server.url)
    served = []

    def work_in_thread(number):
        with blocking.lease():
            served.append(number)

    async def work_in_task(pool, number):
        async with pool.lease():
            served.append(number)

    async def mixed():
        async with make_pool(1) as pool:
            threads, tasks = [], []
            async with pool.lease():
                for number in range(12):
                    if number % 2:
                        threads.append(threading.Thread(target=work_in_thread, args=(number,)))
                        threads[-1].start()
                    else:
                        tasks.append(asyncio.create_task(work_in_task(pool, number)))
                    await all_wait(pool, number + 1)
            await asyncio.gather(*tasks)
            await asyncio.to_thread(lambda: [thread.join() for thread in threads])

    asyncio.run(mixed())
    assert served == list(range(12))


def test_a_crowd_is_alive_for_as_long_as_it_waits(make_pool, short_slices, client):
    async def crowd():
        async with make_pool(1) as pool:
            held = await pool.acquire_account()
            tasks = [await queue_up(pool) for _ in range(20)]
            calls = scripts_run(client)
            await asyncio.sleep(20 * short_slices)  # many times what a mailbox that nobody reads lives
            assert scripts_run(client) - calls < 60
            await held.release()
            for task in tasks:
                await (await asyncio.wait_for(task, 2)).release()

    asyncio.run(crowd())


def test_an_account_whose_holder_died_reaches_the_crowd_when_its_lease_ends(make_pool, short_slices):
    async def crowd():
        async with make_pool(1) as pool, make_pool(auto_renew=False, ttl=0.5) as other:
            await pool.n_accounts()
            dead = await other.acquire_account()
            tasks = [await queue_up(pool) for _ in range(3)]
            for task in tasks:
                await (await asyncio.wait_for(task, 3)).release()
            assert dead.lease.lost
            dead.lease.released = True  # nobody is to miss it

    asyncio.run(crowd())


def test_a_crowd_that_was_taken_for_dead_comes_back_in_its_order(make_pool, short_slices, client, pool_name):
    async def crowd():
        async with make_pool(1) as pool:
            held = await pool.acquire_account()
            tasks = [await queue_up(pool) for _ in range(5)]
            prefix = f"redispool:{{{pool_name}}}:"
            client.delete(prefix + "queue", prefix + "requests", *client.keys(prefix + "alive:*"))
            await all_wait(pool, 5)
            await held.release()
            for number, task in enumerate(tasks):
                account = await asyncio.wait_for(task, 2)
                assert all(not later.done() for later in tasks[number + 1 :])
                await account.release()

    asyncio.run(crowd())


def test_a_mail_that_was_lost_with_its_connection_is_made_up_for(make_pool, short_slices, client, monkeypatch):
    lost = []
    monkeypatch.setattr(Mailbox, "_deliver", lambda mailbox, mail: lost.append(mail))

    async def crowd():
        async with make_pool(2) as pool:
            held = [await pool.acquire_account() for _ in range(2)]
            tasks = [await queue_up(pool) for _ in range(4)]
            await held[0].release()

            async def is_lost():
                return lost

            await until(is_lost)
            monkeypatch.undo()
            for row in client.client_list():
                if row["cmd"] == "blpop":
                    client.client_kill_filter(_id=row["id"])
            first = await asyncio.wait_for(tasks[0], 3)
            assert first.lease.token in lost[0].decode()
            await held[1].release()
            await first.release()
            for task in tasks[1:]:
                await (await asyncio.wait_for(task, 3)).release()

    asyncio.run(crowd())


def test_a_crowd_learns_that_its_pool_was_emptied(make_pool, short_slices):
    async def crowd():
        async with make_pool(1) as pool:
            held = await pool.acquire_account()
            tasks = [asyncio.create_task(pool.acquire_account()) for _ in range(1500)]
            await all_wait(pool, 1500)
            await pool.reset()
            results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
            assert {type(result) for result in results} == {PoolEmpty}
            assert (await pool.status()).waiting == 0
            held.lease.released = True

    asyncio.run(crowd())


def test_a_crowd_rides_out_a_restart_of_its_server(own_server):
    server = own_server("valkey", appendonly="yes", appendfsync="always")

    async def crowd():
        async with AccountPool([Account("a1")], redis=server.url, name="crowd") as pool:
            held = await pool.acquire_account()
            tasks = [asyncio.create_task(pool.acquire_account()) for _ in range(300)]
            await all_wait(pool, 300)
            await asyncio.to_thread(server.restart)
            await held.release()
            for task in tasks:
                await (await asyncio.wait_for(task, 20)).release()

    asyncio.run(crowd())


def test_a_crowd_that_dies_makes_way(make_pool, server, pool_name):
    script = f"""
import asyncio
from redispool.asyncio import AccountPool
async def main():
    pool = AccountPool(name={pool_name!r}, redis={server.url!r})
    pool.operations.flows.slice_seconds = 0.1
    tasks = [asyncio.create_task(pool.acquire_account(ttl=0.3)) for _ in range(50)]
    await asyncio.wait(tasks)
asyncio.run(main())
"""

    async def survive():
        async with make_pool(1) as pool:
            held = await pool.acquire_account()
            process = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-c", script])
            await all_wait(pool, 50)
            process.kill()
            process.wait()
            await held.release()
            await (await pool.acquire_account(timeout=10)).release()

    asyncio.run(survive())
