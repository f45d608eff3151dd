"""Limits: how often an account is used, how many one owner has, how long a lease lasts."""

from __future__ import annotations

import time

import pytest

from redispool import Account, AcquireTimeout, ConfigError, LeaseLost, PoolExhausted
from tests.conftest import wait_until


def test_after_max_uses_an_account_is_put_out_for_rotation(make_pool):
    pool = make_pool(2, max_uses=2)
    names = []
    for _ in range(4):
        with pool.lease(timeout=0) as account:
            names.append(account.name)
    assert names == ["a1", "a2", "a1", "a2"]
    assert {(row.account, row.by) for row in pool.status().quarantine} == {("a1", "pool"), ("a2", "pool")}
    with pytest.raises(PoolExhausted):
        pool.acquire_account()
    pool.get_account_from_name("a1").set_password("new")
    pool.restore("a1")
    for _ in range(2):
        pool.acquire_account(timeout=0).release()
    with pytest.raises(PoolExhausted):
        pool.acquire_account()


def test_all_seats_count_for_max_uses(make_pool):
    pool = make_pool([Account("a1", max_sessions=5)], max_uses=3)
    handles = [pool.acquire_account(timeout=0) for _ in range(3)]
    with pytest.raises(PoolExhausted):
        pool.acquire_account()
    for handle in handles:
        handle.release()
    assert pool.status().free == 0
    pool.restore("a1")
    assert pool.status().free == 5


def test_uses_of_an_account_that_is_never_locked(make_pool):
    pool = make_pool([Account("f1", needs_lock=False)], max_uses=2)
    for _ in range(2):
        pool.acquire_account(timeout=0)
    with pytest.raises(PoolExhausted):
        pool.acquire_account()
    pool.restore("f1")
    pool.acquire_account(timeout=0)


def test_those_behind_the_last_use_learn_that_there_is_none(make_pool, queue_up):
    pool = make_pool(1, max_uses=2)
    first = pool.acquire_account()
    second, third, fourth = queue_up(pool), queue_up(pool), queue_up(pool, "a1")
    first.release()
    handle = second.result(5)
    for waiter in (third, fourth):
        with pytest.raises(PoolExhausted):
            waiter.result(1)
    handle.release()


def test_max_per_owner_makes_the_owner_wait_for_his_own(make_pool, queue_up):
    pool = make_pool(5, max_per_owner=2)
    mine = [pool.acquire_account(owner="me") for _ in range(2)]
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(owner="me", timeout=0)
    yours = pool.acquire_account(owner="you", timeout=0)
    waiter = queue_up(pool, owner="me")
    yours.release()
    assert not waiter.done()
    began = time.monotonic()
    mine[0].release()
    mine.append(waiter.result(1))
    print(f"woken after {(time.monotonic() - began) * 1000:.0f} ms")
    for handle in mine[1:]:
        handle.release()


@pytest.mark.parametrize("wanted", [{"account": "a5"}, {"labels": {"n": "4"}}, {"exclude": ["a1"]}])
def test_an_owner_waits_for_anything_and_is_woken_by_what_he_gives_back(make_pool, queue_up, wanted):
    pool = make_pool([Account(f"a{n}", labels={"n": str(n)}) for n in range(1, 6)], max_per_owner=1)
    mine = pool.acquire_account("a1", owner="me")
    waiter = queue_up(pool, owner="me", **wanted)
    mine.release()
    waiter.result(1).release()


def test_of_an_owner_who_may_go_on_he_is_told_for_whom_something_is_free(make_pool, queue_up):
    pool = make_pool(3, max_per_owner=1)
    theirs, mine = pool.acquire_account("a1", owner="you"), pool.acquire_account("a2", owner="me")
    for_theirs, for_any = queue_up(pool, "a1", owner="me"), queue_up(pool, owner="me")  # a3 is free
    mine.release(cooldown=60)
    assert for_any.result(1).name == "a3"
    for_any.result().release()
    theirs.release()
    for_theirs.result(1).release()


def test_an_owner_whose_lease_ends_by_itself_may_go_on(make_pool, queue_up):
    pool = make_pool(2, max_per_owner=1, auto_renew=False)
    lost = pool.acquire_account(owner="me", ttl=0.3)
    queue_up(pool, owner="me").result(1.5).release()
    del lost


def test_others_pass_by_a_crowd_of_one_owner(make_pool, start):
    pool = make_pool(4, max_per_owner=1)
    mine = pool.acquire_account(owner="me")
    crowd = [start(pool.acquire_account, owner="me") for _ in range(70)]
    wait_until(lambda: pool.status().waiting == 70)
    for owner in ("ann", "bob", "cid"):
        pool.acquire_account(owner=owner, timeout=0).release()
    mine.release()
    waiting = set(crowd)
    while waiting:
        (done,) = wait_until(lambda: [waiter for waiter in waiting if waiter.done()])
        waiting.remove(done)
        done.result().release()


def test_several_at_once_count_for_max_per_owner(make_pool, start):
    pool = make_pool(6, max_per_owner=3)
    with pytest.raises(ConfigError, match="3 is the most"):
        pool.acquire_accounts(4, "me")
    mine = pool.acquire_accounts(2, "me")
    with pytest.raises(AcquireTimeout):
        pool.acquire_accounts(2, "me", timeout=0)
    waiter = start(pool.acquire_accounts, 2, "me")
    wait_until(lambda: pool.status().waiting == 1)
    pool.acquire_account(owner="you", timeout=0).release()  # which he holds up nobody for
    mine[0].release()
    for handle in (*waiter.result(1), mine[1]):
        handle.release()


def test_a_higher_limit_or_none_lets_waiters_go_on_at_once(make_pool, queue_up):
    pool, other = make_pool(4, max_per_owner=1), make_pool()
    mine = [pool.acquire_account(owner="me")]
    waiters = [queue_up(pool, owner="me"), queue_up(pool, owner="me")]
    other.configure(max_per_owner=2)
    wait_until(lambda: any(waiter.done() for waiter in waiters), 1)
    other.configure(max_per_owner=None)
    mine += [waiter.result(1) for waiter in waiters]
    for handle in mine:
        handle.release()


def test_max_lease_ends_a_lease_however_often_it_is_renewed(make_pool):
    pool = make_pool(1, ttl=0.3, max_lease=0.8)
    began = time.monotonic()
    account = pool.acquire_account()
    wait_until(lambda: pool.status().held == 0)
    assert 0.7 < time.monotonic() - began < 3
    with pytest.raises(LeaseLost):
        account.lease.renew()
    with pytest.raises(LeaseLost):
        account.release()


@pytest.mark.parametrize("wrong", [0, -1, 0.01, float("nan"), "5"])
def test_a_max_lease_that_is_no_time(make_pool, wrong):
    with pytest.raises(ConfigError, match=r"ttl|max_lease"):
        make_pool(1, max_lease=wrong)
