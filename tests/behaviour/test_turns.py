"""Who gets which account, and when: in turn, and first come, first served."""

from __future__ import annotations

import itertools
import threading

import pytest

from redispool import Account, AcquireTimeout
from tests.conftest import wait_until


def test_k_free_accounts_are_handed_out_in_turn(make_pool):
    pool = make_pool(3)
    names = []
    for _ in range(7):
        with pool.lease() as account:
            names.append(account.name)
    assert names == ["a1", "a2", "a3", "a1", "a2", "a3", "a1"]


def test_k_acquisitions_in_a_row_give_k_different_accounts(make_pool):
    pool = make_pool(4)
    handles = [pool.acquire_account(timeout=0) for _ in range(4)]
    assert [handle.name for handle in handles] == ["a1", "a2", "a3", "a4"]
    for handle in reversed(handles):
        handle.release()
    assert [account.name for account in pool.unlocked_accounts] == ["a4", "a3", "a2", "a1"]


def test_two_pool_objects_of_one_name_share_the_turns(make_pool):
    here, there = make_pool(3), make_pool()
    names = []
    for pool in (here, there, here, there):
        with pool.lease() as account:
            names.append(account.name)
    assert names == ["a1", "a2", "a3", "a1"]


def test_waiters_are_served_in_the_order_of_their_arrival(make_pool, queue_up):
    pool = make_pool(1)
    first = pool.acquire_account()
    waiters = [queue_up(pool, owner=f"waiter-{number}") for number in range(5)]
    first.release()
    for waiter in waiters:
        handle = waiter.result(5)
        assert [lease.owner for lease in pool.status().leases] == [handle.lease.owner]
        handle.release()


def test_a_releaser_that_acquires_again_at_once_does_not_overtake(make_pool, queue_up):
    pool = make_pool(1)
    handle = pool.acquire_account()
    waiter = queue_up(pool)
    handle.release()
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    waiter.result(5).release()


def test_two_that_contend_for_one_account_take_turns(make_pool, start):
    pool = make_pool(1)
    order = []
    start_line = threading.Barrier(2)

    def work(name):
        start_line.wait()
        for _ in range(30):
            with pool.lease(owner=name) as account:
                order.append(name)
                # from here on the other one is known to wait, unless it has finished
                wait_until(lambda: pool.status().waiting or order.count("left") >= 30 or order.count("right") >= 30)
                assert account.name == "a1"

    for future in [start(work, "left"), start(work, "right")]:
        future.result(30)
    together = order[: min(len(order) - order[::-1].index(name) for name in ("left", "right"))]
    assert all(one != other for one, other in itertools.pairwise(together))


def test_a_particular_account_is_had_by_its_name_or_as_an_object(make_pool):
    pool = make_pool(3)
    by_name = pool.acquire_account("a2", timeout=0)
    by_object = pool.acquire_account(Account("a3"), timeout=0)
    assert (by_name.name, by_object.name) == ("a2", "a3")
    assert (by_name.password, by_object.password) == ("secret-2", "secret-3")
    with pytest.raises(AcquireTimeout, match="'a2'"):
        pool.acquire_account("a2", timeout=0)
    by_name.release()
    by_object.release()


def test_those_who_take_what_comes_skip_an_account_that_was_taken_out_of_turn(make_pool):
    pool = make_pool(3)
    taken = pool.acquire_account("a1")
    handles = [pool.acquire_account(timeout=0) for _ in range(2)]
    assert [handle.name for handle in handles] == ["a2", "a3"]
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    for handle in (taken, *handles):
        handle.release()


def test_an_account_that_was_taken_out_of_turn_goes_to_the_end(make_pool):
    pool = make_pool(3)
    pool.acquire_account("a1").release()
    assert [account.name for account in pool.unlocked_accounts] == ["a2", "a3", "a1"]
    assert [account.name for account in pool.accounts] == ["a1", "a2", "a3"]


def test_waiters_for_one_account_and_for_any_are_served_in_the_order_of_their_arrival(make_pool, queue_up):
    pool = make_pool(2)
    one, two = pool.acquire_account("a1"), pool.acquire_account("a2")
    for_two = queue_up(pool, "a2")
    for_any = queue_up(pool)
    for_one = queue_up(pool, "a1")
    one.release()  # 'a2' came before, and cannot take it
    got_one = for_any.result(5)
    assert got_one.name == "a1"
    two.release()
    got_two = for_two.result(5)
    assert got_two.name == "a2"
    assert not for_one.done()
    got_one.release()
    for_one.result(5).release()
    got_two.release()


def test_a_newcomer_for_any_account_passes_those_who_wait_for_another(make_pool, queue_up):
    pool = make_pool(2)
    one = pool.acquire_account("a1")
    for_one = queue_up(pool, "a1")
    newcomer = pool.acquire_account(timeout=0)
    assert newcomer.name == "a2"
    one.release()
    for_one.result(5).release()
    newcomer.release()


def test_a_newcomer_for_one_account_does_not_overtake_a_waiter_for_any(make_pool, queue_up):
    pool = make_pool(1)
    held = pool.acquire_account()
    for_any = queue_up(pool)
    for_one = queue_up(pool, "a1")
    held.release()
    got = for_any.result(5)
    assert not for_one.done()
    got.release()
    for_one.result(5).release()


def test_the_rotation_stays_within_twice_the_accounts_however_often_they_are_taken_out_of_turn(
    make_pool, client, pool_name
):
    pool = make_pool(10)
    rotation = f"redispool:{{{pool_name}}}:rotation"
    for number in range(300):
        pool.acquire_account(f"a{number % 3 + 1}", timeout=0).release()
        assert client.llen(rotation) <= 20
    others = [pool.acquire_account(timeout=0) for _ in range(9)]
    (last,) = pool.unlocked_accounts
    for _ in range(30):
        pool.acquire_account(last, timeout=0).release()
    for other in others:
        other.release()
    assert client.llen(rotation) <= 20
    handles = [pool.acquire_account(timeout=0) for _ in range(10)]
    assert len({handle.name for handle in handles}) == 10
    for handle in handles:
        handle.release()


def test_after_being_taken_out_of_turn_a_thousand_times_each_account_has_one_turn(make_pool, client, pool_name):
    pool = make_pool(2)
    for _ in range(1000):
        pool.acquire_account("a2", timeout=0).release()
    assert client.llen(f"redispool:{{{pool_name}}}:rotation") <= 4
    names = []
    for _ in range(4):
        with pool.lease(timeout=0) as account:
            names.append(account.name)
    assert sorted(names[:2]) == ["a1", "a2"]
    assert names[:2] == names[2:]


def test_a_higher_priority_is_served_first(make_pool, queue_up):
    pool = make_pool(1)
    held = pool.acquire_account()
    ordinary = queue_up(pool)
    urgent = queue_up(pool, priority=1)
    idle = queue_up(pool, priority=-1)
    more_urgent = queue_up(pool, priority=1000)
    held.release()
    for waiter in (more_urgent, urgent, ordinary, idle):
        waiter.result(5).release()


def test_equal_priorities_are_served_in_the_order_of_their_arrival(make_pool, queue_up):
    pool = make_pool(1)
    held = pool.acquire_account()
    waiters = [queue_up(pool, priority=7) for _ in range(3)]
    held.release()
    for waiter in waiters:
        waiter.result(5).release()
