"""Processes that share a pool, contend for it, and die."""

from __future__ import annotations

import os
import signal
import time

import pytest

from redispool import AcquireTimeout
from tests import invariants
from tests.behaviour.conftest import check_at_rest
from tests.conftest import wait_until
from tests.model.passing_time import end_presence


def test_many_processes_and_threads_never_hold_an_account_twice(make_pool, client, pool_name, server, worker):
    pool = make_pool(3)
    workers = [worker(server.url) for _ in range(3)]
    for one in workers:
        one.send("contend", threads=4, cycles=40)
    reports = [one.answer(60) for one in workers]
    assert reports == [{"twice": [], "cycles": 160}] * 3
    assert pool.status().free == 3
    invariants.check(client, "redispool", pool_name)


def test_a_killed_holders_account_reaches_a_waiter_within_its_ttl(make_pool, server, worker):
    pool = make_pool(1)
    holder, waiter = worker(server.url, ttl=1), worker(server.url, ttl=1)
    holder.do("acquire")
    waiter.send("acquire")
    wait_until(lambda: pool.status().waiting == 1)
    holder.kill()
    killed = time.time()
    assert waiter.answer()["at"] - killed < 1 + 0.3
    assert waiter.do("release") == "released"


def test_the_accounts_of_many_killed_holders_reach_as_many_waiters(make_pool, server, worker):
    pool = make_pool(8)
    holder, waiters = worker(server.url, ttl=1), [worker(server.url, ttl=1) for _ in range(3)]
    for _ in range(8):
        holder.do("acquire")
    for one in waiters:
        one.send("acquire")
    wait_until(lambda: pool.status().waiting == 3)
    holder.kill()
    killed = time.time()
    assert len({one.answer()["name"] for one in waiters}) == 3
    assert time.time() - killed < 1 + 0.3
    wait_until(lambda: pool.status().free == 5)


def test_a_killed_waiter_holds_up_the_next_no_longer_than_a_ttl(make_pool, server, worker, client, pool_name):
    pool = make_pool(1)
    held = pool.acquire_account()
    dead, living = worker(server.url, ttl=0.6), worker(server.url, ttl=0.6)
    dead.send("acquire")
    wait_until(lambda: pool.status().waiting == 1)
    living.send("acquire")
    wait_until(lambda: pool.status().waiting == 2)
    dead.kill()
    held.release()  # which gives it to the dead one
    released = time.time()
    assert living.answer()["at"] - released < 0.6 + 0.3
    living.do("release")
    assert pool.status().free == 1
    check_at_rest(client, "redispool", pool_name)


def test_when_all_waiters_were_killed_nothing_is_lost(make_pool, server, worker):
    pool = make_pool(2)
    held = [pool.acquire_account(ttl=0.6), pool.acquire_account(ttl=0.6)]
    workers = [worker(server.url, ttl=0.6) for _ in range(3)]
    for number, one in enumerate(workers, 1):
        one.send("acquire")
        wait_until(lambda: pool.status().waiting == number)  # noqa: B023 - called at once
    for one in workers:
        one.kill()
    for handle in held:
        handle.release()
    handles = [pool.acquire_account(timeout=10) for _ in range(2)]
    assert {handle.name for handle in handles} == {"a1", "a2"}
    for handle in handles:
        handle.release()


def test_a_waiter_that_was_stopped_for_a_while_keeps_its_place(make_pool, server, worker, client, pool_name):
    pool = make_pool(1)
    held = pool.acquire_account()
    slow, next_one = worker(server.url, ttl=1), worker(server.url, ttl=1)
    slow.send("acquire")
    wait_until(lambda: pool.status().waiting == 1)
    next_one.send("acquire")
    wait_until(lambda: pool.status().waiting == 2)
    slow.signal(signal.SIGSTOP)
    (token,) = [row.token for row in pool.waiting() if f":{slow.process.pid}:" in row.token]
    end_presence(client, f"redispool:{{{pool_name}}}:", token)
    held.release()
    assert next_one.answer()["name"] == "a1"
    slow.signal(signal.SIGCONT)
    wait_until(lambda: pool.status().waiting == 1)
    next_one.do("release")
    slow.answer()
    slow.do("release")


def test_ctrl_c_in_a_waiting_process_leaves_nothing_in_the_queue(make_pool, server, worker, client, pool_name):
    pool = make_pool(1)
    held = pool.acquire_account()
    waiter = worker(server.url)
    waiter.send("acquire")
    wait_until(lambda: pool.status().waiting == 1)
    waiter.signal(signal.SIGINT)
    assert waiter.answer()["error"] == "KeyboardInterrupt"
    assert pool.status().waiting == 0
    held.release()
    assert invariants.check(client, "redispool", pool_name).free == 1


def test_ctrl_c_that_meets_a_grant_gives_it_back(make_pool, server, worker, client, pool_name):
    pool = make_pool(1)
    waiter = worker(server.url)
    for _ in range(10):
        held = pool.acquire_account(timeout=5)
        waiter.send("acquire")
        wait_until(lambda: pool.status().waiting == 1)
        waiter.signal(signal.SIGINT)
        held.release()
        answer = waiter.answer()
        if "error" not in answer:
            waiter.do("release")
        assert pool.status().held == 0
    check_at_rest(client, "redispool", pool_name)


def test_a_forked_child_leaves_its_parents_lease_alone_and_renews_its_own(make_pool, server, worker):
    pool = make_pool(2)
    parent = worker(server.url, ttl=0.4)
    mine = parent.do("acquire")
    report = parent.do("fork")
    assert report["release"] == "NotHeld"
    assert report["renew"] == "NotHeld"
    assert report["own"]["name"] != mine["name"]
    assert report["own"]["renewed"]
    assert not report["own"]["lost"]
    (row,) = pool.status().leases
    assert row.token == mine["token"]
    wait_until(lambda: pool.status().leases[0].expires_at > row.expires_at)  # the parent's keeper goes on
    assert parent.do("lost") == [False]
    parent.do("release")


def test_an_owners_accounts_are_released_from_another_process(make_pool, server, worker):
    pool = make_pool(2)
    holder = worker(server.url, ttl=1)
    holder.do("acquire", owner="crew")
    holder.do("acquire", owner="crew")
    assert pool.release_accounts("crew") == 2
    assert pool.status().free == 2
    wait_until(lambda: holder.do("lost") == [True, True])
    assert holder.do("release")["error"] == "LeaseLost"


def test_a_crowd_of_dead_waiters_holds_nobody_up(make_pool, client, pool_name, start):
    pool = make_pool(1)
    held = pool.acquire_account()
    prefix = f"redispool:{{{pool_name}}}:"
    dead = [f"dead-{number}" for number in range(300)]
    client.zadd(prefix + "queue", {token: number for number, token in enumerate(dead)})
    client.hset(prefix + "requests", mapping=dict.fromkeys(dead, b"0\nme\n60000\n0\n\n"))
    living = start(pool.acquire_account)
    wait_until(lambda: client.zcard(prefix + "queue") == len(dead) + 1)
    held.release()
    living.result(10).release()
    assert pool.status().waiting == 0
    check_at_rest(client, "redispool", pool_name)


def test_an_operators_own_lock_keeps_an_account_from_being_handed_out(make_pool, client, pool_name, queue_up):
    pool = make_pool(2)
    for name in ("a1", "a2"):
        client.set(f"redispool:{{{pool_name}}}:lock:{name}", "maintenance", px=300)
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    assert {lease.owner for lease in pool.status().leases} == {"?"}
    handles = [pool.acquire_account(timeout=5) for _ in range(2)]
    assert {handle.name for handle in handles} == {"a1", "a2"}
    for handle in handles:
        handle.release()
    check_at_rest(client, "redispool", pool_name)


def test_an_account_that_is_added_under_an_operators_lock_comes_when_that_ends(make_pool, client, pool_name):
    make_pool()
    client.set(f"redispool:{{{pool_name}}}:lock:a1", "maintenance", px=200)
    pool = make_pool(1)
    assert pool.status().free == 0
    pool.acquire_account(timeout=5).release()


def test_many_expired_leases_are_reclaimed_in_bounded_steps(make_pool, client, pool_name):
    pool = make_pool(300, auto_renew=False)
    handles = [pool.acquire_account(ttl=0.3) for _ in range(300)]
    wait_until(lambda: all(handle.lease.lost for handle in handles))
    again = [pool.acquire_account(timeout=5, ttl=30) for _ in range(300)]
    assert len({handle.name for handle in again}) == 300
    for handle in again:
        handle.release()
    check_at_rest(client, "redispool", pool_name)


def test_a_wait_that_ends_with_its_process_is_no_ones(make_pool, server, worker):
    pool = make_pool(1)
    holder = worker(server.url, ttl=0.5)
    holder.do("acquire")
    os.kill(holder.process.pid, signal.SIGTERM)  # python's default: it dies at once
    assert holder.process.wait(5) != 0
    pool.acquire_account(timeout=5).release()
