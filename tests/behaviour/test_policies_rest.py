"""Accounts that rest: after a use, between two hand-outs, after a failure; and who waits for them meanwhile."""

from __future__ import annotations

import time

import pytest

from redispool import Account, AcquireTimeout, ConfigError
from tests.conftest import wait_until

SOON = 0.15  # seconds within which a waiter wakes; on a machine that is not shared, 0.05 are promised


def lateness(handle, due):
    """Seconds from when the account could be had to when it was granted, both by the server's clock."""
    late = handle.lease.acquired_at - due
    print(f"woken {late * 1000:.1f} ms late")
    return late


def test_the_cooldown_of_a_pool_rests_each_account_after_each_use(make_pool):
    pool = make_pool(2, cooldown=0.2)
    for expected in ("a1", "a2"):
        with pool.lease(timeout=0) as account:
            assert account.name == expected
    assert (pool.status().cooling, pool.status().free) == (2, 0)
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    with pool.lease(timeout=5) as account:
        assert account.name == "a1"


def test_a_cooldown_of_the_release_goes_before_that_of_the_pool(make_pool):
    pool = make_pool(1, cooldown=60)
    pool.acquire_account().release(cooldown=0)
    with pool.lease(timeout=0):
        assert pool.status().cooling == 0


@pytest.mark.parametrize("wanted", [None, "a1"], ids=["any", "particular"])
def test_a_waiter_wakes_when_the_cooldown_is_over(make_pool, queue_up, wanted):
    pool = make_pool(1)
    held = pool.acquire_account()
    waiter = queue_up(pool, wanted)
    held.release(cooldown=0.3)
    released_at = pool.history(limit=1)[0].at
    handle = waiter.result(5)
    assert 0 <= lateness(handle, released_at + 0.3) < SOON
    handle.release()


def test_a_waiter_wakes_for_the_shorter_of_two_cooldowns(make_pool, queue_up):
    pool = make_pool(2)
    one, two = pool.acquire_account(), pool.acquire_account()
    waiter = queue_up(pool)
    one.release(cooldown=60)
    two.release(cooldown=0.3)
    released_at = pool.history(limit=1)[0].at
    handle = waiter.result(5)
    assert handle.name == "a2"
    assert 0 <= lateness(handle, released_at + 0.3) < SOON
    handle.release()


def test_all_who_wait_wake_in_their_order(make_pool, queue_up):
    pool = make_pool(8)
    held = [pool.acquire_account() for _ in range(8)]
    waiters = [queue_up(pool) for _ in range(8)]
    for handle in held:
        handle.release(cooldown=0.3)
    handles = [waiter.result(5) for waiter in waiters]
    assert [handle.name for handle in handles] == [f"a{number}" for number in range(1, 9)]
    fences = [handle.lease.fence for handle in handles]
    assert fences == sorted(fences)
    for handle in handles:
        handle.release()


def test_an_account_that_its_dead_holder_left_rests_too(make_pool):
    pool = make_pool(1, cooldown=0.3, auto_renew=False)
    lost = pool.acquire_account(ttl=0.05)
    wait_until(lambda: pool.status().cooling == 1)
    with pool.lease(timeout=5) as account:
        assert account.lease.acquired_at >= lost.lease.acquired_at + 0.35


def test_min_interval_counts_from_one_hand_out_to_the_next(make_pool, queue_up):
    pool = make_pool(1, min_interval=0.4)
    first = pool.acquire_account()
    first_at = first.lease.acquired_at
    waiter = queue_up(pool)
    first.release()
    second = waiter.result(5)
    assert 0 <= lateness(second, first_at + 0.4) < SOON
    wait_until(lambda: time.time() > second.lease.acquired_at + 0.5)  # longer held than the interval: no rest after it
    second.release()
    pool.acquire_account(timeout=0).release()


def test_min_interval_holds_for_all_seats_of_an_account(make_pool):
    pool = make_pool([Account("a1", max_sessions=3), Account("a2", max_sessions=3)], min_interval=0.3)
    handles = [pool.acquire_account(timeout=5) for _ in range(4)]
    assert [handle.name for handle in handles] == ["a1", "a2", "a1", "a2"]
    for name in ("a1", "a2"):
        first, second = (handle.lease.acquired_at for handle in handles if handle.name == name)
        assert round(second - first, 3) >= 0.3
    for handle in handles:
        handle.release()


def test_min_interval_holds_for_accounts_that_are_never_locked(make_pool, queue_up):
    pool = make_pool([Account("u1", needs_lock=False)], min_interval=0.3)
    began = time.monotonic()
    pool.acquire_account(timeout=0)
    with pytest.raises(AcquireTimeout):
        pool.acquire_account("u1", timeout=0)
    waiters = [queue_up(pool), queue_up(pool, "u1")]
    for waiter in waiters:
        waiter.result(5)
    assert time.monotonic() - began >= 0.6


def test_a_bad_account_rests_after_its_release(make_pool):
    pool = make_pool(1)
    held = pool.acquire_account()
    held.mark_bad("slow down", cooldown=0.3)
    marked_at = pool.history(limit=1)[0].at
    held.release()
    assert pool.status().cooling == 1
    again = pool.acquire_account(timeout=5)
    assert 0 <= lateness(again, marked_at + 0.3) < SOON
    again.release()


def test_a_bad_account_with_free_seats_rests_at_once(make_pool):
    pool = make_pool([Account("a1", max_sessions=2)])
    held = pool.acquire_account()
    held.mark_bad("slow down", cooldown=60)
    assert (pool.status().free, pool.status().cooling) == (0, 1)
    held.release()
    assert pool.status().cooling == 2
    pool.restore("a1")
    pool.remove_account("a1")
    assert pool.status().cooling == 0


def test_a_short_rest_does_not_end_a_longer_one(make_pool):
    pool = make_pool(1, min_interval=60)
    held = pool.acquire_account()
    held.mark_bad("slow down", cooldown=0.01)
    held.release(cooldown=0.01)
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0.2)


def test_a_rest_outlives_a_rename_and_a_change_of_labels(make_pool):
    pool = make_pool(1)
    held = pool.acquire_account()
    held.mark_bad("slow down", cooldown=60)
    held.set_name("b1")
    make_pool([Account("b1", labels={"site": "x"}, max_sessions=2)])
    held.release()
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    assert pool.status().cooling == 2


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), "1", True])
def test_a_rest_that_is_no_time_changes_nothing(make_pool, wrong):
    pool = make_pool(1)
    account = pool.acquire_account()
    for refused in (
        lambda: pool.configure(cooldown=wrong),
        lambda: pool.configure(min_interval=wrong),
        lambda: account.mark_bad("x", cooldown=wrong),
        lambda: account.release(cooldown=wrong),
    ):
        with pytest.raises(ConfigError):
            refused()
    assert pool.status().policy == {}
    assert [event.event for event in pool.history("a1") if event.event == "bad"] == []
    account.release()
    pool.acquire_account(timeout=0).release()


def test_no_time_is_no_rule(make_pool):
    pool = make_pool(1, cooldown=5, min_interval=5)
    assert pool.configure(cooldown=0, min_interval=0) == {}
    for _ in range(2):
        pool.acquire_account(timeout=0).release()
