"""Accounts that rest after they were released."""

from __future__ import annotations

import pytest

from redispool import AcquireTimeout, ConfigError


def test_a_released_account_rests_for_its_cooldown(make_pool):
    pool = make_pool(1)
    pool.acquire_account().release(cooldown=0.15)
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    status = pool.status()
    assert (status.free, status.held, status.cooling) == (0, 0, 1)
    with pool.lease(timeout=5) as account:
        assert account.name == "a1"
    assert pool.status().cooling == 0


def test_others_are_handed_out_meanwhile(make_pool):
    pool = make_pool(2)
    pool.acquire_account().release(cooldown=60)
    for _ in range(3):
        with pool.lease(timeout=0) as account:
            assert account.name == "a2"


def test_a_waiter_gets_a_rested_account(make_pool, queue_up):
    pool = make_pool(1)
    held = pool.acquire_account()
    waiters = [queue_up(pool, ttl=0.2), queue_up(pool, "a1", ttl=0.2)]  # who poll as often
    held.release(cooldown=0.1)
    for waiter in waiters:
        waiter.result(5).release()


def test_a_resting_account_that_is_removed_and_added_is_there_once(make_pool):
    pool = make_pool(1)
    pool.acquire_account().release(cooldown=0.1)
    pool.remove_account("a1")
    make_pool(1)
    held = pool.acquire_account(timeout=5)
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0.3)
    held.release()


def test_a_cooldown_must_be_a_time(make_pool):
    pool = make_pool(1)
    account = pool.acquire_account()
    for wrong in (-1, float("nan"), "1", float("inf")):
        with pytest.raises(ConfigError):
            account.release(cooldown=wrong)
    assert pool.status().held == 1
    account.release()
