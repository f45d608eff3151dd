"""Several accounts at once: all or none, in one round trip where they are free, and in turn with those who want one."""

from __future__ import annotations

import time

import pytest

from redispool import Account, AcquireTimeout, ConfigError, LeaseLost, PoolEmpty, PoolExhausted
from tests.conftest import wait_until

EU = {"region": "eu"}


@pytest.fixture
def queue_up_for(start):
    """Lets a thread acquire several, and goes on when it stands in the queue; a future of its handles."""

    def stand_in_line(pool, count, *arguments, **options):
        before = pool.status().waiting
        future = start(pool.acquire_accounts, count, *arguments, **options)
        wait_until(lambda: pool.status().waiting == before + 1 or future.done())
        assert not future.done(), f"it did not wait: {future}"
        return future

    return stand_in_line


def release(*handles):
    for handle in handles:
        handle.release()


def names_of(handles):
    return [handle.name for handle in handles]


def test_several_are_different_ones_in_turn(make_pool):
    pool = make_pool(4)
    handles = pool.acquire_accounts(3)
    assert names_of(handles) == ["a1", "a2", "a3"]
    assert len({handle.lease.token for handle in handles}) == 3
    fences = [handle.lease.fence for handle in handles]
    assert fences == sorted(set(fences))
    release(*handles)
    release(*pool.acquire_accounts(1))
    assert names_of(pool.unlocked_accounts) == ["a1", "a2", "a3", "a4"]


def test_seats_of_one_account_count_as_one(make_pool):
    pool = make_pool([Account("a1", max_sessions=5), Account("a2", max_sessions=5)])
    for _ in range(2):
        assert sorted(names_of(pool.acquire_accounts(2, "me", timeout=0))) == ["a1", "a2"]
    with pytest.raises(ConfigError, match="2 is the most"):
        pool.acquire_accounts(3)
    assert pool.release_accounts("me") == 4


def test_several_that_are_free_take_one_round_trip(make_pool, client):
    pool = make_pool(10)
    release(*pool.acquire_accounts(4))
    client.config_resetstat()
    handles = pool.acquire_accounts(4)
    stats = client.info("commandstats")
    scripts = sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval", "fcall"))
    assert scripts == 1
    release(*handles)


def test_all_or_none(make_pool):
    pool = make_pool(3)
    held = pool.acquire_account()
    with pytest.raises(AcquireTimeout):
        pool.acquire_accounts(3, timeout=0)
    assert (pool.status().held, pool.status().free) == (1, 2)
    assert names_of(pool.unlocked_accounts) == ["a2", "a3"]
    held.release()


def test_who_waits_for_several_gets_them_when_there_are_enough(make_pool, queue_up_for):
    pool = make_pool(3)
    held = [pool.acquire_account() for _ in range(3)]
    waiter = queue_up_for(pool, 2)
    held[0].release()
    assert not waiter.done()
    held[1].release()
    release(*waiter.result(5), held[2])


def test_two_who_both_want_the_last_two_do_not_block_each_other(make_pool, start):
    pool = make_pool(2)

    def work():
        for _ in range(10):
            release(*pool.acquire_accounts(2, timeout=20))

    for worker in [start(work) for _ in range(4)]:
        worker.result(30)
    assert pool.status().free == 2


def test_who_waits_for_several_is_not_overtaken_by_those_who_want_one(make_pool, queue_up, queue_up_for):
    pool = make_pool(2)
    held = [pool.acquire_account() for _ in range(2)]
    for_two = queue_up_for(pool, 2)
    for_one = [queue_up(pool), queue_up(pool)]
    held[0].release()
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    assert not any(waiter.done() for waiter in for_one)
    held[1].release()
    release(*for_two.result(5))
    release(*(waiter.result(5) for waiter in for_one))


@pytest.mark.parametrize("goes", ["served", "timeout", "restored away"])
def test_those_behind_go_on_at_once_when_who_wants_several_is_gone(make_pool, queue_up, queue_up_for, goes):
    pool = make_pool(4)
    held = [pool.acquire_account() for _ in range(4)]
    for_three = queue_up_for(pool, 3, timeout=0.5 if goes == "timeout" else 20)
    behind = [queue_up(pool), queue_up(pool)]
    release(*held[:2])
    assert not any(waiter.done() for waiter in behind)
    if goes == "served":
        held[2].release()
        release(*for_three.result(5))
    elif goes == "timeout":
        with pytest.raises(AcquireTimeout):
            for_three.result(5)
    else:
        for handle in held[2:]:
            pool.quarantine(handle.name, "x")
        with pytest.raises(PoolExhausted):
            for_three.result(1)
    release(*(waiter.result(1) for waiter in behind))
    release(*(handle for handle in held[2:] if handle.lease))


def test_who_waits_for_several_with_labels_holds_up_nobody_who_can_have_others(make_pool, queue_up, queue_up_for):
    accounts = [Account(f"e{n}", labels=EU) for n in range(3)] + [Account("u1"), Account("u2")]
    pool = make_pool(accounts)
    held = pool.acquire_account("e0")
    for_three = queue_up_for(pool, 3, labels=EU)  # e1 and e2 are free, and kept for it
    ones = [pool.acquire_account(timeout=0) for _ in range(2)]
    assert names_of(ones) == ["u1", "u2"]
    late = queue_up(pool)
    ones[0].release()
    assert late.result(5).name == "u1"
    held.release()
    assert sorted(names_of(for_three.result(5))) == ["e0", "e1", "e2"]
    release(*for_three.result(), late.result(), ones[1])


def test_who_waits_for_several_holds_up_nobody_at_an_account_that_is_never_locked(make_pool, queue_up_for):
    pool = make_pool([Account("a1"), Account("f1", needs_lock=False)])
    held = pool.acquire_account("a1")
    for_two = queue_up_for(pool, 2)
    assert pool.acquire_account(timeout=0).name == "f1"
    held.release()
    assert sorted(names_of(for_two.result(5))) == ["a1", "f1"]
    release(*(handle for handle in for_two.result() if handle.needs_lock))


def test_who_waits_for_a_restore_of_several_holds_up_nobody(make_pool, queue_up_for):
    pool = make_pool(2)
    pool.quarantine("a2", "x")
    for_two = queue_up_for(pool, 2, wait_for_restore=True)
    pool.acquire_account(timeout=0).release()
    pool.restore("a2")
    release(*for_two.result(5))


@pytest.mark.parametrize("labels", [None, EU], ids=["any", "labels"])
def test_who_lacks_what_is_reserved_holds_up_nobody_until_that_ends(make_pool, queue_up, queue_up_for, labels):
    pool = make_pool([Account(f"e{n}", labels=EU) for n in range(3)])
    held = pool.acquire_account("e1")
    for_three = queue_up_for(pool, 3, labels=labels)
    behind = queue_up(pool, labels=labels)  # e0 and e2 are free, and kept
    pool.reserve("e0", "alice", time.time() + 3600, "for days", force=True)
    release(behind.result(1))
    release(pool.acquire_account(timeout=0, labels=labels))
    held.set_name("e9")
    pool.get_account_from_name("e0").set_name("e8")
    release(pool.acquire_account(timeout=0, labels=labels), held)
    assert not for_three.done()
    one = pool.acquire_account(timeout=0, labels=labels)
    pool.release("e8", "alice")
    with pytest.raises(AcquireTimeout):  # it is back, and so all that is free is kept for who was first
        pool.acquire_account(timeout=0, labels=labels)
    release(one)
    release(*for_three.result(5))


def test_several_with_labels_and_without_some(make_pool):
    pool = make_pool([Account(f"e{n}", labels=EU) for n in range(4)] + [Account("u1")])
    handles = pool.acquire_accounts(3, labels=EU, exclude=["e0", "u1", "zz"])
    assert sorted(names_of(handles)) == ["e1", "e2", "e3"]
    release(*handles)
    with pytest.raises(ConfigError, match="3 is the most"):
        pool.acquire_accounts(4, labels=EU, exclude=["e0"])
    release(*pool.acquire_accounts(4, labels=EU, exclude=["u1"]))  # which carries none of them
    with pytest.raises(PoolEmpty):
        pool.acquire_accounts(2, labels={"region": "asia"})


def test_priority_of_who_wants_several(make_pool, queue_up, queue_up_for):
    pool = make_pool(2)
    held = [pool.acquire_account() for _ in range(2)]
    one = queue_up(pool)
    two = queue_up_for(pool, 2, priority=1)
    release(*held)
    release(*two.result(5))
    release(one.result(5))


def test_a_timeout_gives_nothing_and_keeps_nothing(make_pool, queue_up_for):
    pool = make_pool(3)
    held = pool.acquire_account()
    waiter = queue_up_for(pool, 3, timeout=0.2)
    with pytest.raises(AcquireTimeout):
        waiter.result(5)
    assert (pool.status().waiting, pool.status().free) == (0, 2)
    held.release()


def test_several_are_refused_when_the_pool_shrinks_below(make_pool, queue_up_for):
    pool = make_pool(3)
    held = pool.acquire_account()
    waiter = queue_up_for(pool, 3)
    pool.remove_account("a3")
    with pytest.raises(ConfigError, match="2 is the most"):
        waiter.result(1)
    held.release()


def test_leases_of_several_end_one_by_one(make_pool):
    pool = make_pool(3, auto_renew=False)
    one, two = pool.acquire_accounts(2, ttl=0.2)
    one.lease.renew(30)
    wait_until(lambda: pool.status().free == 2)
    with pytest.raises(LeaseLost):
        two.release()
    one.release()


def test_release_accounts_ends_them_all(make_pool):
    pool = make_pool(5)
    handles = pool.acquire_accounts(4, "me")
    assert pool.release_accounts("me") == 4
    assert pool.status().free == 5
    assert not any(handle.lease for handle in handles)


def test_several_of_those_that_rest_or_are_out(make_pool):
    pool = make_pool(4, min_interval=0.3)
    release(*pool.acquire_accounts(2))
    pool.quarantine("a4", "x")
    handles = pool.acquire_accounts(3, timeout=5)
    assert sorted(names_of(handles)) == ["a1", "a2", "a3"]
    release(*handles)
    with pytest.raises(PoolExhausted):
        pool.acquire_accounts(4)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", None, True, 501])
def test_a_number_of_accounts_that_is_none(make_pool, wrong):
    pool = make_pool(2)
    with pytest.raises(ConfigError, match="n must be"):
        pool.acquire_accounts(wrong)


def test_combinations_that_make_no_sense(make_pool):
    pool = make_pool(3)
    for wrong in ({"prefer": "a1"}, {"priority": 0.5}, {"exclude": "a1"}, {"ttl": 0}, {"timeout": -1}):
        with pytest.raises(ConfigError):
            pool.acquire_accounts(2, **wrong)
    for timeout in (None, 0):
        with pytest.raises(ConfigError, match="3 is the most"):
            pool.acquire_accounts(4, timeout=timeout)
    assert (pool.status().held, pool.status().waiting, pool.status().free) == (0, 0, 3)
