"""Accounts that several may hold at a time, and those that are never locked."""

from __future__ import annotations

import pytest

from redispool import Account, AcquireTimeout, NotHeld
from tests.conftest import wait_until


def several(sessions=3):
    return Account("many", "secret", max_sessions=sessions)


def test_an_account_is_held_by_as_many_as_it_allows(make_pool):
    pool = make_pool([several()])
    handles = [pool.acquire_account(timeout=0) for _ in range(3)]
    assert len({handle.lease.token for handle in handles}) == 3
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    status = pool.status()
    assert (status.accounts, status.free, status.held) == (1, 0, 3)
    handles[1].release()
    again = pool.acquire_account("many", timeout=0)
    for handle in (handles[0], handles[2], again):
        handle.release()
    assert pool.status().free == 3


def test_accounts_with_several_seats_take_their_turns_with_the_others(make_pool):
    pool = make_pool([Account("one"), several(2), Account("two")])
    handles = [pool.acquire_account(timeout=0) for _ in range(4)]
    assert [handle.name for handle in handles] == ["one", "many", "two", "many"]
    for handle in handles:
        handle.release()


def test_each_seat_that_comes_free_goes_to_a_waiter(make_pool, queue_up):
    pool = make_pool([several(2)])
    handles = [pool.acquire_account(), pool.acquire_account()]
    waiters = [queue_up(pool), queue_up(pool, "many")]
    for handle in handles:
        handle.release()
    for waiter in waiters:
        waiter.result(5).release()


def test_an_expired_session_frees_only_its_own_seat(make_pool):
    pool = make_pool([several(2)], auto_renew=False)
    short, long = pool.acquire_account(ttl=0.05), pool.acquire_account(ttl=60)
    again = pool.acquire_account(timeout=5, ttl=60)
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    with pytest.raises(NotHeld):
        short.release()
    long.release()
    again.release()


def test_more_sessions_are_to_be_had_at_once(make_pool, queue_up):
    pool = make_pool([several(1)])
    held = pool.acquire_account()
    waiters = [queue_up(pool), queue_up(pool)]
    assert pool.add_account(several(3)) == 0
    handles = [waiter.result(5) for waiter in waiters]
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    for handle in (held, *handles):
        handle.release()
    assert pool.status().free == 3


def test_fewer_sessions_count_from_the_next_acquisition(make_pool):
    pool = make_pool([several(3)])
    pool.add_account(several(1))
    with pool.lease(), pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)


@pytest.mark.parametrize("released_first", [0, 1, 2])
def test_nobody_gets_an_account_while_more_hold_it_than_it_now_allows(make_pool, released_first):
    pool = make_pool([several(3)])
    handles = [pool.acquire_account() for _ in range(3)]
    pool.add_account(several(1))
    handles.pop(released_first).release()
    for handle in handles:
        with pytest.raises(AcquireTimeout):
            pool.acquire_account(timeout=0)
        handle.lease.renew()
        handle.release()
    with pool.lease(timeout=0), pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)


def test_fewer_sessions_while_one_of_the_later_seats_is_held(make_pool, queue_up):
    pool = make_pool([several(3)])
    handles = [pool.acquire_account() for _ in range(3)]
    handles[0].release()
    handles[1].release()
    pool.add_account(several(1))
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    waiter = queue_up(pool)
    handles[2].release()
    waiter.result(5).release()
    assert pool.status().free == 1


def test_sessions_lowered_and_raised_while_held(make_pool):
    pool = make_pool([several(4)])
    handles = [pool.acquire_account() for _ in range(4)]
    for sessions in (2, 3, 1, 4, 2):
        pool.add_account(several(sessions))
    handles[0].release()
    handles[3].release()
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    pool.add_account(several(3))
    handles.append(pool.acquire_account(timeout=0))
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    for handle in (handles[1], handles[2], handles[4]):
        handle.release()
    assert pool.status().free == 3


def test_sessions_lowered_while_some_rest(make_pool):
    pool = make_pool([several(3)])
    handles = [pool.acquire_account() for _ in range(3)]
    handles[2].release(cooldown=0.2)
    pool.add_account(several(2))
    for handle in handles[:2]:
        handle.release()
    wait_until(lambda: pool.status().cooling == 0)
    assert pool.status().free == 2


def test_a_renamed_account_keeps_all_its_seats(make_pool):
    pool = make_pool([several(3)])
    held = pool.acquire_account()
    pool.acquire_account().release(cooldown=0.1)
    pool.get_account_from_name("many").set_name("plenty")
    held.release()
    wait_until(lambda: pool.status().free == 3)
    handles = [pool.acquire_account("plenty", timeout=0) for _ in range(3)]
    for handle in handles:
        handle.release()


def test_removing_an_account_with_several_holders(make_pool):
    pool = make_pool([several(3), Account("other")])
    handles = [pool.acquire_account("many") for _ in range(2)]
    pool.remove_account("many")
    for handle in handles:
        handle.release()
    assert [account.name for account in pool.unlocked_accounts] == ["other"]


def test_an_account_that_needs_no_lock_is_handed_to_any_number(make_pool):
    pool = make_pool([Account("open", "secret", needs_lock=False)])
    handles = [pool.acquire_account(timeout=0) for _ in range(3)]
    handles.append(pool.acquire_account("open", timeout=0))
    assert [handle.password for handle in handles] == ["secret"] * 4
    assert [handle.lease for handle in handles] == [None] * 4
    status = pool.status()
    assert (status.free, status.held) == (1, 0)
    for handle in handles:
        handle.release()
        handle.release()  # has no effect
    with pool.lease() as account:
        assert not account.needs_lock


def test_an_account_that_needs_no_lock_takes_its_turns(make_pool):
    pool = make_pool([Account("a"), Account("open", needs_lock=False), Account("b")])
    names = []
    for _ in range(4):
        with pool.lease() as account:
            names.append(account.name)
    assert names == ["a", "open", "b", "a"]


def test_an_account_that_needs_no_lock_serves_all_who_wait(make_pool, queue_up):
    pool = make_pool(1)
    held = pool.acquire_account()
    waiters = [queue_up(pool) for _ in range(3)]
    pool.add_account(Account("open", needs_lock=False))
    handles = [waiter.result(5) for waiter in waiters]
    assert [(handle.name, handle.lease) for handle in handles] == [("open", None)] * 3
    held.release()


def test_an_account_may_need_a_lock_no_more_and_again(make_pool, queue_up):
    pool = make_pool(1)
    held = pool.acquire_account()
    waiter = queue_up(pool, "a1")
    pool.add_account(Account("a1", needs_lock=False))
    assert waiter.result(5).lease is None
    with pool.lease() as account:
        assert account.lease is None
    pool.add_account(Account("a1"))
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    held.release()
    pool.acquire_account(timeout=0).release()


def test_an_account_added_again_with_fewer_sessions_waits_for_its_old_holders(make_pool):
    pool = make_pool([several(3)])
    handles = [pool.acquire_account() for _ in range(3)]
    pool.remove_account("many")
    handles.pop(0).release()
    pool.add_account(several(1))
    for handle in handles:
        with pytest.raises(AcquireTimeout):
            pool.acquire_account(timeout=0)
        handle.release()
    pool.acquire_account(timeout=0).release()
