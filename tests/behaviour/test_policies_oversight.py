"""Who has it, who waits for it, what happened to it; and rules that hold for every host."""

from __future__ import annotations

import pytest

from redispool import Account, AcquireTimeout, ConfigError
from tests.conftest import wait_until


def test_status_counts_each_seat_once(make_pool):
    pool = make_pool([Account("a1", max_sessions=3), Account("a2"), Account("a3"), Account("a4")], cleanup=True)
    held = pool.acquire_account("a1", "me")
    pool.acquire_account("a2").release()
    pool.quarantine("a3", "why")
    pool.get_account_from_name("a4").mark_bad("slow", cooldown=60)
    status = pool.status()
    assert (status.accounts, status.free, status.held, status.cooling) == (4, 2, 1, 1)
    assert (status.quarantined, status.to_clean, status.waiting) == (1, 1, 0)
    (row,) = status.leases
    assert (row.account, row.owner, row.token, row.fence) == ("a1", "me", held.lease.token, held.lease.fence)
    assert 0 <= row.age < 60
    assert status.policy == {"cleanup": True}
    held.release()


def test_waiting_tells_the_order_of_service_with_estimates(make_pool, queue_up, start):
    pool = make_pool([Account("e1", labels={"region": "eu"}), Account("a1")])
    for _ in range(3):
        pool.acquire_account().release()
    held = [pool.acquire_account() for _ in range(2)]
    queue_up(pool, owner="any", timeout=20)
    queue_up(pool, labels={"region": "eu"}, owner="label", timeout=20)
    queue_up(pool, "a1", owner="one", priority=2, timeout=20)
    start(pool.acquire_accounts, 2, "two", timeout=20)
    rows = wait_until(lambda: (found := pool.waiting()) and len(found) == 4 and found)
    assert [(row.owner, row.wants, row.count) for row in rows] == [
        ("one", "a1", 1), ("any", "", 1), ("label", "region=eu", 1), ("two", "", 2),
    ]  # fmt: skip
    waits = [row.estimated_wait for row in rows]
    assert all(wait > 0 for wait in waits)
    assert waits == sorted(waits)
    assert waits[3] == pytest.approx(waits[0] * 5)
    now = pool.status().at
    assert all(now - 60 < row.since <= now for row in rows)
    served = []
    for handle in held:
        handle.release()
    for _ in range(5):
        (row, *_) = wait_until(lambda: pool.status().leases)
        served.append(row.owner)
        assert pool.release(row.account, row.owner) == 1
    assert sorted(served) == ["any", "label", "one", "two", "two"]


def test_waiting_is_empty_where_nobody_waits_and_tells_no_time_where_it_cannot(make_pool, queue_up):
    pool = make_pool(1, history=0)
    assert pool.waiting() == []
    held = pool.acquire_account()
    waiter = queue_up(pool)
    assert [row.estimated_wait for row in pool.waiting()] == [None]
    held.release()
    waiter.result(5).release()


def test_history_tells_what_happened_to_one_account_or_to_all(make_pool):
    pool = make_pool(2)
    for name in ("a1", "a2", "a1"):
        with pool.lease(name, "me"):
            pass
    events = pool.history("a1", limit=4)
    assert [(event.event, event.owner) for event in events] == [
        ("released", "me"), ("granted", "me"), ("released", "me"), ("granted", "me"),
    ]  # fmt: skip
    assert [event.fence for event in events] == [3, 3, 1, 1]
    assert [event.at for event in events] == sorted((event.at for event in events), reverse=True)
    assert len(pool.history(limit=3)) == 3
    assert pool.history("zz") == []
    for wrong in (0, -1, 1.5, None):
        with pytest.raises(ConfigError, match="limit"):
            pool.history(limit=wrong)


def test_history_is_found_among_many_events_of_others(make_pool):
    pool = make_pool(2)
    pool.acquire_account("a1", "me").release()
    for _ in range(300):
        pool.acquire_account("a2").release()
    assert [event.event for event in pool.history("a1", limit=2)] == ["released", "granted"]


def test_no_history_is_kept_where_none_is_wanted(make_pool):
    pool = make_pool(1, history=0)
    before = len(pool.history())
    pool.acquire_account().release()
    assert len(pool.history()) == before
    pool.configure(history=1000)
    pool.acquire_account().release()
    assert len(pool.history()) > before


def test_rules_hold_for_every_host_and_outlive_their_maker(make_pool):
    make_pool(2, cooldown=60, max_failures=3)
    other = make_pool()
    assert other.configure(max_failures=1, cooldown=None, max_rate=None) == {"max_failures": 1}
    third = make_pool()
    assert third.status().policy == {"max_failures": 1}
    with third.lease(timeout=0) as account:
        account.mark_bad("x")
    assert other.status().quarantined == 1


def test_none_removes_a_rule_and_what_is_not_named_stays(make_pool):
    pool = make_pool(1)
    rules = {
        "cooldown": 1.5, "min_interval": 0.25, "max_rate": 12.5, "max_failures": 3, "max_uses": 4, "max_per_owner": 5,
        "cleanup": True, "history": 77,
    }  # fmt: skip
    assert pool.configure(**rules) == rules
    for name in list(rules):
        del rules[name]
        assert pool.configure(**{name: None}) == rules
    assert pool.status().policy == {}
    pool.configure(cleanup=True)
    assert pool.configure(cleanup=False) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"cooldown": -1}, {"min_interval": "1"}, {"max_rate": 0}, {"max_failures": 0}, {"max_uses": 1.5},
        {"max_per_owner": True}, {"cleanup": 1}, {"history": -1}, {"cleanup": "no"}, {"history": 1.5},
    ],
)  # fmt: skip
def test_a_rule_that_makes_no_sense_changes_nothing(make_pool, wrong):
    pool = make_pool(1, max_failures=7)
    with pytest.raises(ConfigError):
        pool.configure(**{"max_failures": 9, **wrong})
    assert pool.status().policy == {"max_failures": 7}
    with pytest.raises(ConfigError):
        make_pool(2, **wrong)
    assert (pool.status().policy, len(pool)) == ({"max_failures": 7}, 1)


def test_a_pool_that_has_only_rules_is_known(make_pool, client):
    pool = make_pool(cooldown=5)
    assert pool.status().accounts == 0
    assert client.sismember("redispool:pools", pool.name)


def test_an_unknown_rule_is_a_type_error(make_pool):
    pool = make_pool(1)
    with pytest.raises(TypeError, match="max_age"):
        pool.configure(max_age=5)
    with pytest.raises(TypeError, match="max_age"):
        make_pool(1, max_age=5)


def test_all_rules_at_once(make_pool, start):
    pool = make_pool(
        [Account(f"a{n}", labels={"site": "x"}, max_sessions=1 + n % 3) for n in range(6)],
        cooldown=0.01, min_interval=0.02, max_rate=200, max_failures=3, max_uses=1000, max_per_owner=2, cleanup=True,
    )  # fmt: skip

    def use(owner):
        for number in range(8):
            with pool.lease(owner=owner, labels={"site": "x"} if number % 2 else None, timeout=30):
                assert sum(row.owner == owner for row in pool.status().leases) <= 2

    def clean():
        while True:
            try:
                pool.acquire_for_cleanup(timeout=1.5).release()
            except AcquireTimeout:
                return

    crew = [start(use, f"o{number % 3}") for number in range(6)] + [start(clean) for _ in range(2)]
    for one in crew:
        one.result(60)
    wait_until(lambda: pool.status().free == sum(1 + n % 3 for n in range(6)))
