"""Places in the queue that are kept for callers who are away."""

from __future__ import annotations

import threading

import pytest

from redispool import Account, AcquireTimeout, PoolEmpty
from redispool.protocol.places import Place

from .conftest import wait_until
from .model.passing_time import end_presence

AWAY = 5.0  # seconds


def visit(pool, place=None, away=AWAY, **choice):
    return pool.run(pool.operations.acquire_or_keep_place(place, away, "visitor", choice))


def test_who_comes_first_is_served_first_though_the_other_never_went_away(make_pool):
    pool = make_pool(1)
    held = pool.acquire_account()
    place = visit(pool)
    assert isinstance(place, Place)
    waiter = threading.Thread(target=lambda: pool.acquire_account(timeout=10).release())
    waiter.start()
    wait_until(lambda: pool.status().waiting == 2)
    held.release()  # reserved from now on
    account = visit(pool, place)
    assert account.name == "a1"
    assert waiter.is_alive()
    account.release()
    waiter.join(10)
    assert not waiter.is_alive()


def test_what_is_reserved_for_one_who_is_away_is_not_for_a_newcomer(make_pool):
    pool = make_pool(1)
    held = pool.acquire_account()
    first = visit(pool)
    held.release()
    second = visit(pool)
    assert isinstance(second, Place)
    account = visit(pool, first)
    assert isinstance(visit(pool, second), Place)
    account.release()


def test_visits_in_vain_keep_the_order(make_pool):
    pool = make_pool(1)
    held = pool.acquire_account()
    places = [visit(pool) for _ in range(3)]
    assert [place.rank for place in places] == [0, 1, 2]
    places = [visit(pool, place) for place in reversed(places)]
    assert [place.rank for place in places] == [2, 1, 0]
    assert pool.status().waiting == 3
    held.release()
    account = visit(pool, places[2])
    account.release()
    account = visit(pool, places[1])
    assert account.name == "a1"
    account.release()


def test_two_who_come_with_the_same_place_never_share_an_account(make_pool):
    pool = make_pool(1)
    held = pool.acquire_account()
    place = visit(pool)
    held.release()
    account = visit(pool, place)
    assert isinstance(visit(pool, place), Place)
    assert not account.lease.lost
    account.lease.renew()
    account.release()


def test_who_never_comes_back_leaves_nothing_behind(make_pool, client):
    pool = make_pool(1, ttl=0.3)
    held = pool.acquire_account()
    visit(pool)
    held.release()
    account = pool.acquire_account(timeout=5)
    account.release()
    assert pool.status().free == 1
    assert pool.status().waiting == 0
    assert pool.audit() == []


def test_a_place_that_lapsed_is_had_again(make_pool, client, pool_name):
    pool = make_pool(1)
    held = pool.acquire_account()
    early = visit(pool)
    late = visit(pool)
    end_presence(client, f"redispool:{{{pool_name}}}:", early.token)
    held.release()  # to the later one
    early = visit(pool, early)
    late = visit(pool, late)
    assert isinstance(late, Place)
    account = visit(pool, early)
    account.release()
    visit(pool, late).release()
    assert pool.status().free == 1


def test_the_last_visit_leaves_the_queue(make_pool):
    pool = make_pool(1)
    held = pool.acquire_account()
    place = visit(pool)
    with pytest.raises(AcquireTimeout):
        visit(pool, place, None)
    assert pool.status().waiting == 0
    held.release()
    assert pool.status().free == 1


def test_the_last_visit_takes_what_is_reserved(make_pool):
    pool = make_pool(1)
    held = pool.acquire_account()
    place = visit(pool)
    held.release()
    visit(pool, place, None).release()


def test_a_place_for_certain_labels(make_pool):
    pool = make_pool([Account("a1", labels={"region": "eu"}), Account("a2", labels={"region": "us"})])
    held = visit(pool, labels={"region": "eu"})
    assert held.name == "a1"
    place = visit(pool, labels={"region": "eu"})
    assert isinstance(place, Place)
    held.release()
    again = visit(pool, place, labels={"region": "eu"})
    assert again.name == "a1"
    again.release()


def test_a_pool_that_was_emptied_meanwhile_says_so(make_pool):
    pool = make_pool(1)
    held = pool.acquire_account()
    place = visit(pool)
    held.release()
    pool.reset()
    with pytest.raises(PoolEmpty):
        visit(pool, place)
