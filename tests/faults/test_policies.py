"""Each policy between processes: what one sets holds for the other, and one that is killed leaves nothing behind."""

from __future__ import annotations

import itertools
import time

import pytest

from redispool import Account, AcquireTimeout
from tests.conftest import wait_until
from tests.faults.conftest import check_at_rest

TTL = 0.5
EU = {"region": "eu"}


@pytest.fixture
def open_pool(make_pool, client):
    """Opens the test's pool; when the test is over, every seat must be in exactly one place."""
    opened = []

    def open_with(accounts=0, **options):
        opened.append(make_pool(accounts, **options))
        return opened[-1]

    yield open_with
    for name in {pool.name for pool in opened}:
        check_at_rest(client, "redispool", name)


@pytest.fixture
def pair(server, worker):
    """Two processes that share the pool."""
    return worker(server.url, ttl=TTL), worker(server.url, ttl=TTL)


def has(worker, name):
    return worker.do("acquire", timeout=0)["name"] == name


def is_refused(worker, error="AcquireTimeout", **arguments):
    return worker.do("acquire", **{"timeout": 0, **arguments}).get("error") == error


def test_seats_are_shared(open_pool, pair):
    pool = open_pool([Account("a1", max_sessions=2), Account("a2", max_sessions=2)])
    one, other = pair
    names = [worker.do("acquire", timeout=0)["name"] for worker in (one, other, one, other)]
    assert names == ["a1", "a2", "a1", "a2"]
    assert is_refused(one)
    one.kill()
    wait_until(lambda: pool.status().free == 2)
    for _ in range(2):
        other.do("release")


def test_cooldown_of_one_is_kept_by_the_other(open_pool, pair):
    open_pool(1)
    one, other = pair
    one.do("acquire")
    one.do("tell", method="release", cooldown=0.4)
    began = time.time()
    assert is_refused(other)
    assert other.do("acquire")["at"] - began > 0.3
    other.do("release")


def test_min_interval_and_a_dead_holder(open_pool, pair):
    open_pool(1, min_interval=1.2)
    one, other = pair
    first = one.do("acquire")["at"]
    one.kill()
    second = other.do("acquire")["at"]  # the lease ended before the interval did
    assert second - first > 1.1
    other.do("release")


def test_max_rate_is_one_for_both(open_pool, pair):
    pool = open_pool(8, max_rate=5)
    one, other = pair
    for worker in (one, other, one, other):
        worker.send("acquire")
    for worker in (one, other, one, other):
        worker.answer()
    times = sorted(lease.acquired_at for lease in pool.status().leases)
    assert all(later - sooner > 0.195 for sooner, later in itertools.pairwise(times))
    for worker in (one, other):
        worker.do("release")
        worker.do("release")


def test_failures_are_counted_together(open_pool, pair):
    pool = open_pool(1, max_failures=2)
    one, other = pair
    for worker in (one, other):
        worker.do("acquire")
        worker.do("tell", method="mark_bad", reason="401")
        worker.do("release")
    (row,) = pool.status().quarantine
    assert f":{other.process.pid}:" in row.by
    assert is_refused(one, "PoolExhausted")
    one.do("call", method="restore", account="a1")
    assert has(other, "a1")
    other.do("release")


def test_quarantine_tells_who_waits_in_another_process(open_pool, pair):
    pool = open_pool(1)
    one, other = pair
    one.do("acquire")
    other.send("acquire")
    wait_until(lambda: pool.status().waiting == 1)
    one.do("call", method="quarantine", account="a1", reason="x")
    assert other.answer(1)["error"] == "PoolExhausted"
    one.do("release")


def test_labels_and_a_dead_waiter_for_them(open_pool, pair):
    pool = open_pool([Account("e1", labels=EU), Account("u1")])
    one, other = pair
    held = pool.acquire_account(labels=EU)
    one.send("acquire", labels=EU)
    wait_until(lambda: pool.status().waiting == 1)
    other.send("acquire", labels=EU)
    wait_until(lambda: pool.status().waiting == 2)
    one.kill()
    held.release()  # it may still go to the dead one, for a TTL
    assert other.answer()["name"] == "e1"
    other.do("release")


def test_priority_between_processes(open_pool, pair):
    pool = open_pool(1)
    one, other = pair
    held = pool.acquire_account()
    one.send("acquire")
    wait_until(lambda: pool.status().waiting == 1)
    other.send("acquire", priority=1)
    wait_until(lambda: pool.status().waiting == 2)
    held.release()
    assert other.answer()["name"] == "a1"
    other.do("release")
    assert one.answer()["name"] == "a1"
    one.do("release")


def test_batches_of_two_processes_and_one_that_dies_with_all_of_its_own(open_pool, pair):
    pool = open_pool(3)
    one, other = pair
    assert len(one.do("take", method="acquire_accounts", n=3)) == 3
    other.send("take", method="acquire_accounts", n=2)
    wait_until(lambda: pool.status().waiting == 1)
    one.kill()
    assert len(other.answer()) == 2
    for _ in range(2):
        other.do("release")
    wait_until(lambda: pool.status().free == 3)


def test_one_that_dies_waiting_for_several_holds_up_nobody_for_long(open_pool, pair):
    pool = open_pool(2)
    one, other = pair
    held = pool.acquire_account()
    one.send("take", method="acquire_accounts", n=2, ttl=0.3)
    wait_until(lambda: pool.status().waiting == 1)
    one.kill()
    other.send("acquire")
    assert other.answer(15)["name"] == "a2"
    other.do("release")
    held.release()


def test_a_reservation_outlives_who_made_it(open_pool, pair):
    pool = open_pool(1)
    one, other = pair
    one.do("call", method="reserve", account="a1", owner="alice", until=time.time() + 3600, note="x")
    one.kill()
    time.sleep(TTL + 0.1)
    assert is_refused(other)
    assert other.do("call", method="release", account="a1", owner="admin", force=True) == "1"
    assert f":{other.process.pid}:" in pool.history("a1", limit=1)[0].why
    assert has(other, "a1")
    other.do("release")


def test_a_cleaner_that_is_killed_leaves_it_to_the_next(open_pool, pair):
    pool = open_pool(1, cleanup=True)
    one, other = pair
    pool.acquire_account().release()
    one.do("take", method="acquire_for_cleanup")
    one.kill()
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    other.do("take", method="acquire_for_cleanup")
    assert pool.status().free == 0
    other.do("tell", method="set_password", password="rotated")
    other.do("release")
    with pool.lease(timeout=0) as account:
        assert account.get_password() == "rotated"


def test_max_uses_are_counted_together(open_pool, pair):
    open_pool(1, max_uses=2)
    one, other = pair
    for worker in (one, other):
        worker.do("acquire")
        worker.do("release")
    assert is_refused(one, "PoolExhausted")
    assert is_refused(other, "PoolExhausted")


def test_max_per_owner_of_an_owner_in_two_places_one_of_which_dies(open_pool, pair):
    open_pool(3, max_per_owner=1)
    one, other = pair
    one.do("acquire", owner="job")
    assert is_refused(other, owner="job")
    other.send("acquire", owner="job")
    one.kill()
    assert "name" in other.answer()
    other.do("release")


def test_rules_of_one_process_hold_for_the_other_at_once(open_pool, pair):
    pool = open_pool(3, max_rate=0.001)
    one, other = pair
    one.do("acquire")
    other.send("acquire")
    wait_until(lambda: pool.status().waiting == 1)
    one.do("call", method="configure", max_rate=None)
    other.answer(1)
    for worker in (one, other):
        worker.do("release")


def test_prefer_is_remembered_for_an_owner_on_every_host(open_pool, pair):
    open_pool(4)
    one, other = pair
    name = one.do("acquire", owner="job", prefer=True)["name"]
    one.do("release")
    assert other.do("acquire", owner="job", prefer=True)["name"] == name
    other.do("release")


def test_who_excludes_an_account_is_passed_by_it_to_another_process(open_pool, pair):
    pool = open_pool(2)
    one, other = pair
    held = [pool.acquire_account(name) for name in ("a1", "a2")]
    one.send("acquire", exclude=["a1"])
    wait_until(lambda: pool.status().waiting == 1)
    other.send("acquire")
    wait_until(lambda: pool.status().waiting == 2)
    held[0].release()
    assert other.answer()["name"] == "a1"
    held[1].release()
    assert one.answer()["name"] == "a2"
    for worker in (one, other):
        worker.do("release")


def test_max_lease_ends_what_a_process_goes_on_renewing(open_pool, server, worker):
    pool = open_pool(1)
    one, other = worker(server.url, ttl=TTL, max_lease=1.5), worker(server.url, ttl=TTL)
    first = one.do("acquire")["at"]
    assert is_refused(other)
    second = other.do("acquire")["at"]
    assert 1.4 < second - first < 1.5 + TTL + 1
    assert one.do("release")["error"] == "LeaseLost"
    other.do("release")
    assert pool.status().free == 1


def test_max_sessions_that_are_changed_hold_for_those_who_wait_and_those_who_hold(open_pool, pair):
    pool = open_pool(1)
    one, other = pair
    one.do("acquire")
    other.send("acquire")
    wait_until(lambda: pool.status().waiting == 1)
    pool.add_account(Account("a1", max_sessions=2))
    assert other.answer(1)["name"] == "a1"
    pool.add_account(Account("a1"))
    one.do("release")
    assert is_refused(one)  # the other has the one seat that is left
    other.do("release")
    assert has(one, "a1")
    one.do("release")


def test_a_cleaner_is_told_in_another_process_that_nothing_is_cleaned_any_more(open_pool, pair):
    pool = open_pool(1, cleanup=True)
    one, other = pair
    one.send("take", method="acquire_for_cleanup")
    wait_until(lambda: pool.status().waiting == 1)
    other.do("call", method="configure", cleanup=None)
    assert one.answer(1)["error"] == "ConfigError"


def test_a_batch_that_lacks_what_another_process_reserved_holds_up_nobody(open_pool, pair):
    pool = open_pool(2)
    one, other = pair
    held = pool.acquire_account("a1")
    one.send("take", method="acquire_accounts", n=2)
    wait_until(lambda: pool.status().waiting == 1)
    other.send("acquire")
    wait_until(lambda: pool.status().waiting == 2)
    pool.reserve("a1", "alice", time.time() + 3600, force=True)
    assert other.answer(1)["name"] == "a2"
    other.do("release")
    assert pool.release("a1", "alice") == 1
    assert len(one.answer()) == 2
    for _ in range(2):
        one.do("release")
    del held
