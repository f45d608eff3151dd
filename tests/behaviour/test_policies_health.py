"""Good and bad accounts: failures are counted, quarantine takes accounts out, and who waits in vain is told."""

from __future__ import annotations

import re
import time

import pytest

from redispool import Account, AcquireTimeout, ConfigError, PoolEmpty, PoolExhausted, UnknownAccount


def names_out(pool):
    return {row.account for row in pool.status().quarantine}


def fail(pool, name, times, why="401"):
    account = pool.get_account_from_name(name)
    for _ in range(times):
        account.mark_bad(why)


def test_max_failures_puts_an_account_out_and_says_who_when_and_why(make_pool):
    pool = make_pool(2, max_failures=3)
    before = pool.status().at
    fail(pool, "a1", 2)
    assert names_out(pool) == set()
    fail(pool, "a1", 1, "password expired")
    status = pool.status()
    (row,) = status.quarantine
    assert (row.account, row.reason, status.quarantined, status.free) == ("a1", "password expired", 1, 1)
    assert re.fullmatch(r".+:\d+:.+", row.by)
    assert before <= row.since <= status.at
    for _ in range(3):
        with pool.lease(timeout=0) as account:
            assert account.name == "a2"


def test_mark_good_forgets_the_failures(make_pool):
    pool = make_pool(1, max_failures=2)
    fail(pool, "a1", 1)
    pool.get_account_from_name("a1").mark_good()
    fail(pool, "a1", 1)
    assert names_out(pool) == set()
    fail(pool, "a1", 1)
    assert names_out(pool) == {"a1"}


def test_saying_that_an_account_is_good_leaves_nothing_behind(make_pool, client):
    pool = make_pool(1, max_failures=2)
    account = pool.get_account_from_name("a1")
    account.mark_good()
    before = set(client.keys(f"*{{{pool.name}}}*"))
    account.mark_good()
    assert set(client.keys(f"*{{{pool.name}}}*")) == before


def test_without_max_failures_failures_are_only_noted(make_pool):
    pool = make_pool(1)
    fail(pool, "a1", 5)
    assert names_out(pool) == set()
    assert [event.event for event in pool.history("a1", limit=5)] == ["bad"] * 5


def test_a_held_account_that_is_put_out_stays_with_its_holder_until_he_releases_it(make_pool):
    pool = make_pool(1, max_failures=1)
    held = pool.acquire_account()
    held.mark_bad("banned")
    assert not held.lease.lost
    held.lease.renew()
    held.release()
    status = pool.status()
    assert (status.free, status.held, status.cooling, status.quarantined) == (0, 0, 0, 1)


def test_quarantine_and_restore_by_an_operator(make_pool):
    pool, operator = make_pool(2), make_pool()
    operator.quarantine("a1", "audit until Monday")
    assert [(row.account, row.reason) for row in pool.status().quarantine] == [("a1", "audit until Monday")]
    with pytest.raises(PoolExhausted, match="'a1'"):
        pool.acquire_account("a1")
    operator.restore("a1")
    assert pool.status().quarantined == 0
    pool.acquire_account("a1", timeout=0).release()
    assert [event.event for event in pool.history("a1", limit=4)] == ["released", "granted", "restored", "quarantined"]


def test_quarantine_twice_and_restore_twice_are_once(make_pool):
    pool = make_pool([Account("a1", max_sessions=3)])
    pool.quarantine("a1", "first")
    pool.quarantine("a1", "second")
    assert [row.reason for row in pool.status().quarantine] == ["first"]
    pool.restore("a1")
    pool.restore("a1")
    assert pool.status().free == 3


@pytest.mark.parametrize("timeout", [None, 0, 5])
def test_a_pool_of_quarantined_accounts_says_so_at_once(make_pool, timeout):
    pool = make_pool(2)
    for name in ("a1", "a2"):
        pool.quarantine(name, "x")
    began = time.monotonic()
    for arguments in ({}, {"account": "a1"}):
        with pytest.raises(PoolExhausted, match="quarantine"):
            pool.acquire_account(timeout=timeout, **arguments)
    with pytest.raises(PoolEmpty):
        pool.acquire_account(timeout=timeout)
    assert time.monotonic() - began < 2


def test_those_who_wait_learn_at_once_that_all_is_quarantined(make_pool, queue_up):
    pool = make_pool([Account("a1", labels={"site": "x"}), Account("a2", labels={"site": "y"})])
    held = [pool.acquire_account() for _ in range(2)]
    for_x, for_a1 = queue_up(pool, labels={"site": "x"}), queue_up(pool, "a1")
    for_any, patient = queue_up(pool), queue_up(pool, wait_for_restore=True)
    pool.quarantine("a1", "x")
    for waiter in (for_x, for_a1):
        with pytest.raises(PoolExhausted):
            waiter.result(1)
    assert not for_any.done()
    held[1].mark_bad("only noted")
    pool.quarantine("a2", "y")
    with pytest.raises(PoolExhausted):
        for_any.result(1)
    for handle in held:
        handle.release()
    assert not patient.done()
    pool.restore("a2")
    handle = patient.result(1)
    assert handle.name == "a2"
    handle.release()


def test_wait_for_restore_waits_for_the_one_account_too(make_pool, queue_up):
    pool = make_pool(2)
    pool.quarantine("a1", "x")
    with pytest.raises(AcquireTimeout):
        pool.acquire_account("a1", timeout=0, wait_for_restore=True)
    waiter = queue_up(pool, "a1", wait_for_restore=True)
    pool.restore("a1")
    waiter.result(1).release()


def test_those_who_exclude_all_that_is_healthy_are_told(make_pool, queue_up):
    pool = make_pool(3)
    held = [pool.acquire_account() for _ in range(3)]
    waiter = queue_up(pool, exclude=["a1", "a2"])
    pool.quarantine("a3", "x")
    with pytest.raises(PoolExhausted):
        waiter.result(1)
    for handle in held:
        handle.release()
    with pytest.raises(PoolExhausted):
        pool.acquire_account(exclude=["a1", "a2"])
    with pytest.raises(ConfigError):
        pool.acquire_account(exclude=["a1", "a2", "a3"])


def test_a_quarantined_account_that_is_removed_and_added_again_is_healthy(make_pool):
    pool = make_pool(1, max_failures=2)
    fail(pool, "a1", 2)
    pool.remove_account("a1")
    assert pool.status().quarantined == 0
    make_pool(1)
    fail(pool, "a1", 1)
    assert pool.status().quarantined == 0
    pool.acquire_account(timeout=0).release()


def test_quarantine_outlives_a_rename_a_relabelling_and_other_seats(make_pool):
    pool = make_pool(2, max_failures=1)
    fail(pool, "a1", 1, "why")
    pool.get_account_from_name("a1").set_name("b1")
    make_pool([Account("b1", labels={"site": "x"}, max_sessions=4)])
    assert [(row.account, row.reason) for row in pool.status().quarantine] == [("b1", "why")]
    assert pool.status().free == 1
    with pytest.raises(PoolExhausted):
        pool.acquire_account(labels={"site": "x"})
    pool.restore("b1")
    assert pool.status().free == 5
    pool.acquire_account(labels={"site": "x"}, timeout=0).release()


def test_accounts_that_are_never_locked_can_be_put_out(make_pool):
    pool = make_pool([Account("u1", needs_lock=False), Account("a1")], max_failures=1)
    pool.acquire_account("u1").mark_bad("banned")
    assert [pool.acquire_account(timeout=0).name] == ["a1"]
    with pytest.raises(PoolExhausted):
        pool.acquire_account("u1")
    pool.restore("u1")
    assert pool.acquire_account("u1", timeout=0).name == "u1"


def test_reset_heals(make_pool):
    pool = make_pool(1, max_failures=1)
    fail(pool, "a1", 1)
    pool.reset()
    make_pool(1)
    assert pool.status().quarantined == 0
    assert pool.status().policy == {"max_failures": 1}
    pool.acquire_account(timeout=0).release()


class Refused(Exception):  # noqa: N818 - a story, not an API
    pass


class RefusedForEver(Refused):
    pass


def test_an_error_that_is_named_in_bad_on_marks_the_account_bad(make_pool):
    pool = make_pool(2, max_failures=1)
    with pytest.raises(KeyError), pool.lease(bad_on=(Refused, OSError)):
        raise KeyError
    assert names_out(pool) == set()
    with pytest.raises(RefusedForEver), pool.lease(bad_on=(Refused, OSError)) as account:
        raise RefusedForEver("the password was hunter2")
    (row,) = pool.status().quarantine
    assert (row.account, row.reason) == (account.name, "RefusedForEver")
    assert pool.status().held == 0


def test_the_account_goes_back_though_it_cannot_be_marked_bad(make_pool):
    pool = make_pool(2)

    def work():
        pool.remove_account("a1")
        raise Refused

    with pytest.raises(Refused), pool.lease("a1", bad_on=(Refused,)):
        work()
    assert pool.status().held == 0


@pytest.mark.parametrize("wrong", ["Refused", (Refused, "x"), 5, (int,), None])
def test_bad_on_that_names_no_errors_takes_no_account(make_pool, wrong):
    pool = make_pool(1)
    with pytest.raises(ConfigError, match="bad_on"), pool.lease(bad_on=wrong):
        pytest.fail("it was leased")
    assert pool.status().held == 0


def test_one_class_will_do_for_bad_on(make_pool):
    pool = make_pool(1, max_failures=1)
    with pytest.raises(Refused), pool.lease(bad_on=Refused):
        raise Refused
    assert names_out(pool) == {"a1"}


def test_health_of_what_is_not_in_the_pool(make_pool):
    pool = make_pool(1)
    for call in (lambda: pool.quarantine("zz", "x"), lambda: pool.restore("zz")):
        with pytest.raises(UnknownAccount, match="'zz'"):
            call()
    gone = pool.get_account_from_name("a1")
    pool.remove_account("a1")
    with pytest.raises((UnknownAccount, ConfigError)):
        gone.mark_bad("x")
    with pytest.raises((UnknownAccount, ConfigError)):
        gone.mark_good()


@pytest.mark.parametrize("wrong", [None, 5, "a\nb", "x" * 1025, b"x"])
def test_a_reason_is_a_short_text(make_pool, wrong):
    pool = make_pool(1, max_failures=1)
    with pytest.raises(ConfigError, match="reason"):
        pool.quarantine("a1", wrong)
    with pytest.raises(ConfigError, match="reason"):
        pool.get_account_from_name("a1").mark_bad(wrong)
    assert pool.status().quarantined == 0


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "3", True])
def test_limits_are_whole_numbers_from_1(make_pool, wrong):
    pool = make_pool(1)
    for rule in ("max_failures", "max_uses", "max_per_owner"):
        with pytest.raises(ConfigError, match=rule):
            pool.configure(**{"cooldown": 5, rule: wrong})
    assert pool.status().policy == {}
