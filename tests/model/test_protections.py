"""The lock decides: whatever an operator, or an index that went astray, says otherwise, nobody gets what is held."""

from __future__ import annotations

import time

import pytest

from redispool import Account, AcquireTimeout, LeaseLost
from redispool.protocol import scripts
from tests import invariants
from tests.conftest import wait_until
from tests.model.reference import Request
from tests.model.scripted_pool import NAMESPACE, ScriptedPool


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


def test_a_lock_that_an_operator_took_over_is_not_renewed_by_who_held_it(make_pool, client):
    pool = make_pool(1, auto_renew=False)
    held = pool.acquire_account()
    client.set(key(pool, "lock:a1"), "mine", px=10_000)
    with pytest.raises(LeaseLost):
        held.lease.renew(60)
    assert client.pttl(key(pool, "lock:a1")) <= 10_000


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


@pytest.fixture
def scripted(client, pool_name):
    return ScriptedPool(client, pool_name, {"a": 1, "b": 1})


def ask(scripted, token, *, wait=True, again=False, want=""):
    asked = Request(token, want, f"owner of {token}", 6)
    return scripted.acquire(asked, wait=wait, presence=3, priority=0, stamp=again)


def test_what_may_be_had_again_goes_to_who_waits_and_not_to_who_asks_first(scripted):
    scripted.call(scripts.CONFIGURE, '{"pace":100000}')  # microseconds from one hand-out to the next
    scripted.add("a")
    scripted.add("b")
    assert ask(scripted, "first")[0] == "granted"
    assert ask(scripted, "waiter")[0] == "waiting"
    time.sleep(0.11)  # the server's clock is to be beyond that
    assert ask(scripted, "newcomer", wait=False) == ("busy",)
    assert scripted.read_mail("waiter")[:2] == ("granted", "b")


@pytest.mark.parametrize("stolen", [None, "b"])
def test_who_asks_twice_is_told_the_same_and_what_is_free_is_left_as_it_was(scripted, client, stolen):
    scripted.add("a")
    scripted.add("b")
    first = ask(scripted, "asker")
    if stolen:  # an operator locks what is next
        client.set(f"{scripted.start}lock:b", "mine", px=60_000)

    def left():
        keys = [key for key in client.scan_iter(match=f"{NAMESPACE}:*{scripted.pool}*") if b":events" not in key]
        return {key: client.dump(key) for key in sorted(keys)}

    before = left()
    assert first[:2] == ("granted", "a")
    for wait in (False, True):
        assert ask(scripted, "asker", wait=wait) == first
    assert left() == before
    assert client.lrange(f"{scripted.start}rotation", 0, -1) == [b"b"]


def test_the_first_who_waits_for_any_keeps_his_place_when_another_gets_the_one_he_waited_for(scripted, client):
    scripted.add("a")
    scripted.add("b")
    for holder in ("one", "other"):
        assert ask(scripted, holder)[0] == "granted"
    assert ask(scripted, "choosy", want="a")[:2] == ("waiting", 0)
    for number in range(3):
        assert ask(scripted, f"any{number}")[:2] == ("waiting", number)
    places = client.zrange(f"{scripted.start}queue", 0, -1, withscores=True)
    assert scripted.release("one", 0)
    assert scripted.read_mail("choosy")[:2] == ("granted", "a")
    assert client.zrange(f"{scripted.start}queue", 0, -1, withscores=True) == places
    assert scripted.release("choosy", 0)
    assert scripted.read_mail("any0")[:2] == ("granted", "a")
    assert client.zrange(f"{scripted.start}queue", 0, -1, withscores=True) == places[1:]


def test_a_waiter_that_was_taken_for_dead_comes_back_to_its_place(scripted):
    scripted.add("a")
    assert ask(scripted, "holder")[0] == "granted"
    assert ask(scripted, "early")[:2] == ("waiting", 0)
    scripted.die("early")
    assert ask(scripted, "late")[:2] == ("waiting", 1)
    assert scripted.release("holder", 0)
    assert scripted.read_mail("late")[:2] == ("granted", "a")
    assert ask(scripted, "later")[:2] == ("waiting", 0)
    assert ask(scripted, "early", again=True)[:2] == ("waiting", 0)
    assert scripted.release("late", 0)
    assert scripted.read_mail("early")[:2] == ("granted", "a")
    assert scripted.read_mail("later") is None


def test_one_call_reclaims_no_more_than_its_bound(scripted, client):
    for number in range(200):
        scripted.sessions[f"x{number}"] = 1
        scripted.add(f"x{number}")
    for number in range(200):
        assert ask(scripted, f"t{number}")[0] == "granted"
    scripted.pass_time(6)
    leases = f"{NAMESPACE}:{{{scripted.pool}}}:leases"
    for left in (136, 72, 8, 0):
        scripted.reclaim()
        assert client.zcard(leases) == left
