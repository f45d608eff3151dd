"""Who holds what, and releasing in the heritage's manner."""

from __future__ import annotations

import pytest

from redispool import Account, AccountPool, NotHeld
from tests.conftest import wait_until


class Worker:
    """Some object of the user's."""


def test_a_string_is_the_same_owner_on_every_host(make_pool):
    here, there = make_pool(3), make_pool()
    handles = [here.acquire_account(owner="crew"), there.acquire_account(owner="crew")]
    other = here.acquire_account(owner="others")
    assert there.release_accounts("crew") == 2
    assert [lease.owner for lease in here.status().leases] == ["others"]
    other.release()
    assert here.status().free == 3
    assert len(handles) == 2


def test_an_object_owns_what_it_acquired(make_pool):
    pool = make_pool(3)
    one, two = Worker(), Worker()
    handles = [pool.acquire_account(owner=owner) for owner in (one, one, two)]
    assert len({lease.owner for lease in pool.status().leases}) == 2
    assert pool.release_accounts(one) == 2
    assert pool.release_accounts(one) == 0
    assert pool.status().held == 1
    handles[2].release()


def test_equal_objects_are_one_owner(make_pool):
    pool = make_pool(1)
    held = pool.acquire_account(owner=(1, "job"))
    assert pool.release_accounts((1, "job")) == 1
    with pytest.raises(NotHeld):
        held.release()


def test_without_an_owner_the_thread_is_the_owner(make_pool, pool_type, start):
    if pool_type is not AccountPool:
        pytest.skip("under asyncio, the tasks of a loop are all of one thread")
    pool = make_pool(2)
    mine = pool.acquire_account()
    theirs = start(pool.acquire_account).result(5)
    owners = {lease.owner for lease in pool.status().leases}
    assert len(owners) == 2
    assert pool.release_accounts(None) == 1
    assert [lease.account for lease in pool.status().leases] == [theirs.name]
    theirs.release()
    with pytest.raises(NotHeld):
        mine.release()


def test_what_has_expired_is_not_counted_as_released(make_pool, client, pool_name):
    pool = make_pool(2, auto_renew=False)
    handles = [pool.acquire_account(owner="me", ttl=0.05), pool.acquire_account(owner="me", ttl=60)]
    wait_until(lambda: not client.exists(f"redispool:{{{pool_name}}}:lock:a1"))
    assert pool.release_accounts("me") == 1
    assert len(handles) == 2


def test_releasing_an_owners_accounts_serves_those_who_wait(make_pool, queue_up):
    pool = make_pool(2)
    held = [pool.acquire_account(owner="me") for _ in range(2)]
    waiters = [queue_up(pool), queue_up(pool)]
    assert pool.release_accounts("me") == 2
    for waiter in waiters:
        waiter.result(5).release()
    for handle in held:
        with pytest.raises(NotHeld):
            handle.release()


def test_an_owner_may_hold_many_accounts(make_pool):
    pool = make_pool([Account("many", max_sessions=1500)])
    handles = [pool.acquire_account(owner="crew", timeout=0) for _ in range(1500)]
    assert len(pool.status().leases) == 1500
    assert make_pool().release_accounts("crew") == 1500
    assert pool.status().free == 1500
    assert len(handles) == 1500


def test_releasing_through_the_member_object_releases_this_processs_lease(make_pool):
    account = Account("a1")
    pool = make_pool([account])
    handle = pool.acquire_account()
    account.release()
    assert pool.status().free == 1
    with pytest.raises(NotHeld):
        handle.release()
    with pytest.raises(NotHeld):
        account.release()


def test_the_member_object_leases_itself(make_pool):
    account = Account("a2", "secret")
    pool = make_pool([Account("a1"), account])
    other = make_pool()
    account.acquire()
    assert account.lease is not None
    assert [lease.account for lease in other.status().leases] == ["a2"]
    account.release()
    assert account.lease is None
    with account:
        assert other.status().held == 1
    assert pool.status().held == 0


def test_a_context_releases_an_acquired_account(make_pool):
    pool = make_pool(1)
    with pool.acquire_account().context() as account:
        assert account.get_name() == "a1"
        assert pool.status().held == 1
    assert pool.status().held == 0


def test_a_found_account_can_be_acquired(make_pool):
    pool = make_pool(1)
    account = pool.get_account_from_name("a1")
    account.acquire()
    assert pool.status().held == 1
    account.release()


def test_events_of_a_member_are_told_to_its_listeners(make_pool):
    account = Account("a1")
    pool = make_pool([account])
    told = []
    account.acquired_event.connect(lambda one: told.append(("acquired", one.name)))
    account.released_event.connect(lambda one: told.append(("released", one.name)))
    account.changed_event.connect(lambda one: told.append(("changed", one.name)))
    account.acquire()
    account.release()
    account.acquire(signal=False)
    account.release(signal=False)
    account.set_password("new")
    account.set_name("b1")
    assert told == [("acquired", "a1"), ("released", "a1"), ("changed", "a1"), ("changed", "b1")]
    pool.acquire_account().release()
    assert told[-1] == ("released", "b1")


def test_a_disconnected_listener_hears_no_more(make_pool):
    account = Account("a1")
    make_pool([account])
    told = []
    account.acquired_event.connect(told.append)
    account.acquired_event.disconnect(told.append)
    account.acquire()
    account.release()
    assert told == []
