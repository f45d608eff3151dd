"""Deadlines, and waiting in vain."""

from __future__ import annotations

import time

import pytest

from redispool import AcquireTimeout, PoolEmpty, UnknownAccount
from tests.conftest import wait_until


def test_timeout_0_takes_a_free_account(make_pool):
    with make_pool(1).lease(timeout=0) as account:
        assert account.name == "a1"


def test_timeout_0_does_not_wait(make_pool):
    pool = make_pool(1)
    with pool.lease():
        with pytest.raises(AcquireTimeout):
            pool.acquire_account(timeout=0)
        assert pool.status().waiting == 0


def test_a_wait_ends_with_its_timeout_and_leaves_the_queue(make_pool):
    pool = make_pool(1)
    with pool.lease():
        began = time.monotonic()
        with pytest.raises(AcquireTimeout, match=r"within 0\.2 seconds"):
            pool.acquire_account(timeout=0.2)
        assert time.monotonic() - began >= 0.2
        assert pool.status().waiting == 0
    pool.acquire_account(timeout=0).release()


def test_a_timeout_is_also_pythons_own(make_pool):
    pool = make_pool(1)
    with pool.lease(), pytest.raises(TimeoutError):
        pool.acquire_account(timeout=0)


def test_without_a_timeout_one_waits_for_longer_than_a_slice(make_pool, queue_up):
    pool = make_pool(1)
    held = pool.acquire_account(ttl=30)
    waiter = queue_up(pool, ttl=0.1)  # which polls each tenth of a second
    time.sleep(0.35)
    assert not waiter.done()
    held.release()
    waiter.result(5).release()


def test_an_account_that_comes_free_in_time_is_had(make_pool, queue_up):
    pool = make_pool(1)
    held = pool.acquire_account()
    waiter = queue_up(pool, timeout=10)
    held.release()
    waiter.result(5).release()


def test_an_empty_pool_says_so_at_once(make_pool):
    pool = make_pool()
    for timeout in (None, 0, 5):
        with pytest.raises(PoolEmpty, match="empty"):
            pool.acquire_account(timeout=timeout)
    with pytest.raises(ValueError, match="empty"):
        pool.acquire_account("a1")


def test_reset_sends_all_who_wait_away(make_pool, queue_up):
    pool, other = make_pool(2), make_pool()
    held = [pool.acquire_account(), pool.acquire_account()]
    waiters = [queue_up(pool), queue_up(pool, "a1"), queue_up(other)]
    other.reset()
    for waiter in waiters:
        with pytest.raises(PoolEmpty):
            waiter.result(5)
    assert pool.status().waiting == pool.status().held == len(pool) == 0
    del held


def test_removing_the_last_account_sends_all_who_wait_away(make_pool, queue_up):
    pool = make_pool(1)
    held = pool.acquire_account()
    for_any, for_one = queue_up(pool), queue_up(pool, "a1")
    pool.remove_account("a1")
    for waiter in (for_any, for_one):
        with pytest.raises(PoolEmpty):
            waiter.result(5)
    held.release()


def test_removing_one_account_sends_only_those_away_who_wait_for_it(make_pool, queue_up):
    pool = make_pool(2)
    one, two = pool.acquire_account("a1"), pool.acquire_account("a2")
    for_one, for_any = queue_up(pool, "a1"), queue_up(pool)
    pool.remove_account("a1")
    with pytest.raises(UnknownAccount, match="'a1'"):
        for_one.result(5)
    one.release()
    assert not for_any.done()
    two.release()
    for_any.result(5).release()


def test_an_account_that_the_pool_does_not_have_is_unknown(make_pool):
    pool = make_pool(1)
    for timeout in (None, 0, 5):
        with pytest.raises(UnknownAccount, match="'zz'"):
            pool.acquire_account("zz", timeout=timeout)


def test_an_account_that_is_added_goes_to_the_first_who_waits(make_pool, queue_up):
    pool = make_pool(1)
    held = pool.acquire_account()
    first, second = queue_up(pool), queue_up(pool)
    make_pool(2)
    got = first.result(5)
    assert got.name == "a2"
    held.release()
    assert second.result(5).name == "a1"
    got.release()
    second.result().release()


def test_a_waiter_for_an_account_that_is_removed_and_added_again_can_wait_again(make_pool, queue_up):
    pool = make_pool(2)
    held = pool.acquire_account("a1")
    waiter = queue_up(pool, "a1")
    pool.remove_account("a1")
    make_pool(1)
    with pytest.raises(UnknownAccount):
        waiter.result(5)
    again = queue_up(pool, "a1")  # the old holder has it still
    held.release()
    again.result(5).release()


def test_a_hundred_threads_on_three_accounts_all_get_one(make_pool, start):
    pool = make_pool(3)
    inside = []

    def work():
        with pool.lease() as account:
            assert account.name not in inside
            inside.append(account.name)
            inside.remove(account.name)

    for future in [start(work) for _ in range(100)]:
        future.result(30)
    wait_until(lambda: pool.status().free == 3)
