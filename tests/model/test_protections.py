"""The lock decides: whatever an operator, or an index that went astray, says otherwise, nobody gets what is held."""

from __future__ import annotations

import time

import pytest

from redispool import Account, AcquireTimeout, LeaseLost
from tests import invariants
from tests.conftest import wait_until


def key(pool, rest):
    return f"redispool:{{{pool.name}}}:{rest}"


def test_an_index_that_says_that_a_held_account_has_expired_does_not_free_it(make_pool, client):
    pool = make_pool(1, auto_renew=False)
    held = pool.acquire_account()
    client.zadd(key(pool, "leases"), {held.lease.token: 1})
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    assert pool.audit() == []
    held.release()
    assert pool.acquire_account(timeout=0).name == "a1"


@pytest.mark.parametrize("sessions", [1, 2])
def test_a_lock_that_an_operator_took_over_is_not_released_by_who_held_it_and_comes_back_at_its_end(
    make_pool, client, sessions
):
    pool = make_pool([Account("a1", "x", max_sessions=sessions)], auto_renew=False)
    held = pool.acquire_account()
    client.set(key(pool, "lock:a1"), "mine", px=300)
    pool.release_accounts(held.lease.owner)
    assert client.get(key(pool, "lock:a1")) == b"mine"
    others = [pool.acquire_account(timeout=0) for _ in range(sessions - 1)]
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    others.append(pool.acquire_account(timeout=5))
    assert client.get(key(pool, "lock:a1")) == others[-1].lease.token.encode()
    for one in others:
        one.release()
    invariants.check(client, "redispool", pool.name)


def test_a_lock_that_an_operator_took_over_outlives_the_lease_that_ends_meanwhile(make_pool, client):
    pool = make_pool(1, ttl=0.1, auto_renew=False)
    held = pool.acquire_account()
    client.set(key(pool, "lock:a1"), "mine", px=600)
    wait_until(lambda: held.lease.lost)
    pool.status()
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    with pytest.raises(LeaseLost):
        held.release()
    pool.acquire_account(timeout=5).release()
    invariants.check(client, "redispool", pool.name)


@pytest.mark.parametrize("sessions", [1, 2])
def test_an_account_that_is_reserved_from_under_an_operators_lock_comes_back_once(make_pool, client, sessions):
    pool = make_pool([Account("a1", "x", max_sessions=sessions)])
    client.set(key(pool, "lock:a1"), "mine", px=400)
    if sessions == 1:
        with pytest.raises(AcquireTimeout):
            pool.acquire_account(timeout=0)
    else:
        pool.acquire_account(timeout=0).release()
    pool.reserve("a1", "bob", time.time() + 60, force=True)
    assert pool.audit() == []
    pool.release("a1", "bob")
    wait_until(lambda: not pool.status().leases)
    assert pool.status().free == sessions
    assert pool.audit() == []
    invariants.check(client, "redispool", pool.name)
