"""Striped pools whose servers, holders and waiters come and go: all that can be had is had, and nothing twice."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
import redis

import redispool
from redispool import Account, AccountPool, AcquireTimeout, stripe_search
from redispool.asyncio import StripedPool
from tests import faces
from tests.behaviour.conftest import check_at_rest
from tests.conftest import wait_until
from tests.topologies import Cluster

NAMES = [f"a{number}" for number in range(12)]
MANY = [Account(f"a{number}") for number in range(60)]
ACCOUNTS = [Account(name, "x") for name in NAMES]
KIND = pytest.mark.parametrize("server", ["valkey"], indirect=True)  # the kind of server does not matter here

HOLDER = """
import sys, time, redispool
pool = redispool.StripedPool(sys.argv[1], stripes=3, redis=sys.argv[2], ttl=1)
with pool.lease(sys.argv[3]):
    print("held", flush=True)
    time.sleep(60)
"""
WAITER = """
import signal, sys, redispool
signal.signal(signal.SIGINT, signal.default_int_handler)
pool = redispool.StripedPool(sys.argv[1], stripes=3, redis=sys.argv[2], ttl=1, home=int(sys.argv[3]))
handle = pool.acquire_account()
"""


@pytest.fixture(params=[redispool.StripedPool, faces.StripedPool], ids=["blocking", "asyncio"])
def face(request):
    return request.param


def take_all(pool):
    return {handle.name: handle for handle in [pool.acquire_account(owner="holder", timeout=0) for _ in NAMES]}


def check_all_at_rest(server, pool):
    wait_until(lambda: (pool.status().free, pool.status().waiting) == (len(NAMES), 0))
    with server.client() as client:
        for stripe in pool.stripes:
            check_at_rest(client, "redispool", stripe.name)


def test_who_waits_rides_out_a_restart_of_the_server(own_server, pool_name, face, start):
    server = own_server(appendonly="yes", appendfsync="always")
    pool = face(pool_name, stripes=3, home=0, redis=server.url)
    pool.add_account(ACCOUNTS)
    held = take_all(pool)
    waiting = start(pool.acquire_account, owner="waiter")
    wait_until(lambda: pool.status().waiting == 1)
    server.kill()
    time.sleep(2.5)  # longer than anybody stands in line between two looks
    assert not waiting.done()
    server.start()
    held.pop(min(held)).release()
    waiting.result(20).release()
    for handle in held.values():
        handle.release()
    check_all_at_rest(server, pool)


def test_an_outage_that_outlasts_the_patience_is_told(own_server, pool_name, face, start):
    server = own_server()
    pool = face(pool_name, stripes=3, home=0, redis=server.url, patience=1.0)
    with pytest.raises(redis.ConnectionError):
        face(pool_name, stripes=3, redis="redis://127.0.0.1:1/0").acquire_account()
    pool.add_account(ACCOUNTS)
    held = take_all(pool)
    waiting = start(pool.acquire_account, owner="waiter")
    in_time = start(pool.acquire_account, owner="waiter", timeout=0.5)
    wait_until(lambda: pool.status().waiting == 2)
    server.kill()
    assert isinstance(waiting.exception(30), redis.ConnectionError)
    assert isinstance(in_time.exception(30), redis.ConnectionError | AcquireTimeout)
    assert len(held) == len(NAMES)


@pytest.fixture
def cluster():
    cluster = Cluster(cluster_require_full_coverage="no")
    yield cluster
    cluster.remove()


def node_of(cluster, stripe):
    return cluster.node_of(f"redispool:{{{stripe.name}}}:meta")


def test_stripes_whose_primary_is_gone_are_gone_round_and_found_again(cluster, pool_name, face, start, monkeypatch):
    pool = face(pool_name, stripes=6, home=0, redis=cluster.url)
    pool.add_account(MANY)
    monkeypatch.setattr(stripe_search, "_SPARED", 1)
    victim = node_of(cluster, pool.stripes[0])
    views = [AccountPool(name=stripe.name, redis=cluster.url) for stripe in pool.stripes]
    living = [view for view in views if node_of(cluster, view) is not victim]
    gone = {account.name for account in MANY if node_of(cluster, pool.stripe_of(account.name)) is victim}
    assert 0 < len(gone) < len(MANY)
    victim.kill()
    others = [pool.acquire_account(owner="me", timeout=20) for _ in range(len(MANY) - len(gone))]
    assert not gone & {handle.name for handle in others}
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    waiting = start(pool.acquire_account, owner="waiter", timeout=30)
    wait_until(lambda: any(view.status().waiting for view in living))
    others.pop().release()
    others.append(waiting.result(20))
    waiting = start(pool.acquire_account, owner="waiter", timeout=60)
    wait_until(lambda: any(view.status().waiting for view in living))
    victim.start()  # without what it had
    cluster.wait()
    pool.add_account([Account(name) for name in gone])
    assert waiting.result(60).name in gone  # those that are known to be gone are tried now and then
    assert len(others) == len(MANY) - len(gone)


def test_nobody_waits_for_ever_for_what_only_a_stripe_that_is_gone_has(cluster, pool_name, face):
    pool = face(pool_name, stripes=6, home=0, redis=cluster.url, patience=1.0)
    victim = node_of(cluster, pool.stripes[0])
    pool.add_account(next(one for one in MANY if node_of(cluster, pool.stripe_of(one)) is victim))
    pool.acquire_account().release()
    victim.kill()
    for timeout in (None, 0.5):
        with pytest.raises(redis.RedisError):
            pool.acquire_account(timeout=timeout)
    victim.start()
    cluster.wait()
    with pytest.raises(redispool.PoolEmpty):
        pool.acquire_account()


def test_who_waits_at_a_stripe_whose_primary_goes_is_served_at_another(cluster, pool_name, face, start):
    pool = face(pool_name, stripes=6, home=0, redis=cluster.url)
    pool.add_account(MANY)
    held = {account.name: pool.acquire_account(account.name, owner="holder", timeout=0) for account in MANY}
    waiting = start(pool.acquire_account, owner="waiter")
    own = AccountPool(name=pool.stripes[0].name, redis=cluster.url)
    wait_until(lambda: own.status().waiting == 1)
    victim = node_of(cluster, own)
    views = [AccountPool(name=stripe.name, redis=cluster.url) for stripe in pool.stripes]
    living = [view for view in views if node_of(cluster, view) is not victim]
    victim.kill()
    (elsewhere,) = wait_until(lambda: [view for view in living if view.status().waiting], seconds=30)
    free = next(name for name in held if pool.stripe_of(name).name == elsewhere.name)
    held[free].release()
    assert waiting.result(10).name == free


@KIND
def test_the_account_of_a_killed_holder_comes_to_who_waits_at_another_stripe(server, pool_name, face, start):
    pool = face(pool_name, stripes=3, home=0, redis=server.url)
    pool.add_account(ACCOUNTS)
    theirs = next(name for name in NAMES if pool.stripe_of(name) is pool.stripes[1])
    held = [pool.acquire_account(name, owner="holder") for name in NAMES if name != theirs]
    words = [sys.executable, "-c", HOLDER, pool_name, server.url, theirs]
    holder = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    waiting = start(pool.acquire_account, owner="waiter", timeout=20)
    wait_until(lambda: pool.status().waiting == 1)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert waiting.result(10).name == theirs
    assert len(held) == len(NAMES) - 1


@KIND
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_waiter_who_is_interrupted_or_killed_takes_nothing_with_him(server, pool_name, number):
    pool = redispool.StripedPool(pool_name, stripes=3, home=0, redis=server.url)
    pool.add_account(ACCOUNTS)
    held = take_all(pool)
    words = [sys.executable, "-c", WAITER, pool_name, server.url]
    waiters = [subprocess.Popen([*words, str(home)], stderr=subprocess.DEVNULL) for home in range(3)]
    wait_until(lambda: pool.status().waiting == 3)
    for one in waiters:
        one.send_signal(number)
    for one in waiters:
        one.wait()
    for handle in held.values():
        handle.release()
    check_all_at_rest(server, pool)


@KIND
def test_tasks_that_are_cancelled_at_any_time_leave_nothing_behind(server, pool_name, monkeypatch):
    monkeypatch.setattr(stripe_search, "LOOK_AROUND", 0.02)

    async def work(pool, rng, holders):
        async with pool.lease() as handle:
            assert handle.name not in holders
            holders.add(handle.name)
            try:
                await asyncio.sleep(rng.random() * 0.02)
            finally:
                holders.discard(handle.name)

    async def main():
        rng = random.Random(10)
        holders = set()
        async with StripedPool(pool_name, stripes=3, redis=server.url) as pool:
            await pool.add_account(ACCOUNTS)
            end = time.monotonic() + 3
            cancelled = 0
            while time.monotonic() < end:
                tasks = [asyncio.create_task(work(pool, rng, holders)) for _ in range(40)]
                await asyncio.sleep(rng.random() * 0.06)
                for task in tasks:
                    cancelled += task.cancel()
                for result in await asyncio.gather(*tasks, return_exceptions=True):
                    assert result is None or isinstance(result, asyncio.CancelledError), result
            return cancelled

    assert asyncio.run(main()) > 100
    check_all_at_rest(server, redispool.StripedPool(pool_name, stripes=3, redis=server.url))


@KIND
def test_workers_whose_connections_are_cut_never_share_an_account_and_leave_none_behind(
    server, client, pool_name, face, monkeypatch, start
):
    monkeypatch.setattr(stripe_search, "LOOK_AROUND", 0.02)
    pool = face(pool_name, stripes=3, redis=server.url, ttl=2)
    pool.add_account(ACCOUNTS)
    holders, twice, end = set(), [], time.monotonic() + 4
    guard = threading.Lock()

    def work():
        turns = 0
        while time.monotonic() < end:
            handle = pool.acquire_account()
            with guard:
                twice.extend([handle.name] if handle.name in holders else [])
                holders.add(handle.name)
            time.sleep(0.003)
            with guard:
                holders.discard(handle.name)
            handle.release()
            turns += 1
        return turns

    working = [start(work) for _ in range(20)]
    while time.monotonic() < end:
        client.client_kill_filter(_type="normal", skipme=True)
        time.sleep(0.05)
    assert sum(future.result(30) for future in working) > 50
    assert not twice
    check_all_at_rest(server, pool)
    assert AccountPool(name=pool.stripes[0].name, redis=server.url).audit() == []
