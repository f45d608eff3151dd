"""Accounts that are taken out for a person, by name, until a time, with a note; and what an administrator can end."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from redispool import Account, AcquireTimeout, ConfigError, LeaseLost, NotHeld, UnknownAccount


def soon(seconds=3600):
    return time.time() + seconds


def test_a_reserved_account_is_nobodys_but_its_owners(make_pool):
    pool = make_pool(2)
    until = dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)
    pool.reserve("a1", "alice", until, "debugging core-7")
    (row,) = pool.status().leases
    assert (row.account, row.owner, row.purpose, row.note) == ("a1", "alice", "reserved", "debugging core-7")
    assert row.expires_at == pytest.approx(until.timestamp(), abs=0.01)
    with pytest.raises(AcquireTimeout):
        pool.acquire_account("a1", timeout=0)
    for _ in range(2):
        with pool.lease(timeout=0) as account:
            assert account.name == "a2"
    assert pool.release("a1", "alice") == 1
    pool.acquire_account("a1", timeout=0).release()


def test_a_reservation_ends_by_itself_and_wakes_who_waits(make_pool, queue_up):
    pool = make_pool(1)
    ends = soon(0.5)
    pool.reserve("a1", "alice", ends)
    handle = queue_up(pool).result(5)
    late = handle.lease.acquired_at - ends
    print(f"woken {late * 1000:.1f} ms late")
    assert -0.005 <= late < 0.15
    handle.release()


def test_all_seats_are_reserved(make_pool):
    pool = make_pool([Account("a1", max_sessions=3), Account("a2")])
    pool.reserve("a1", "alice", soon())
    assert [row.owner for row in pool.status().leases] == ["alice"] * 3
    assert pool.status().free == 1
    assert pool.release("a1", "alice") == 3
    assert pool.status().free == 4


def test_a_held_account_is_reserved_by_force_only(make_pool):
    pool = make_pool([Account("a1", max_sessions=2)])
    held = pool.acquire_account(owner="bob")
    with pytest.raises(ConfigError, match="held by 'bob'"):
        pool.reserve("a1", "alice", soon())
    assert [row.owner for row in pool.status().leases] == ["bob"]
    assert pool.status().free == 1
    pool.reserve("a1", "alice", soon(), "mine", force=True)
    assert [row.owner for row in pool.status().leases] == ["alice", "alice"]
    with pytest.raises(LeaseLost):
        held.lease.renew()
    events = {event.event: event for event in pool.history("a1", limit=6)}
    assert events["revoked"].owner == "bob"
    assert "for alice" in events["revoked"].why
    with pytest.raises(ConfigError, match="held by 'alice'"):
        pool.reserve("a1", "carol", soon())
    pool.reserve("a1", "carol", soon(), force=True)
    assert pool.release("a1", "carol") == 2


def test_seats_that_are_held_beyond_the_number_there_are_count(make_pool):
    pool = make_pool([Account("a1", max_sessions=3)])
    handles = [pool.acquire_account(owner=f"o{n}") for n in range(3)]
    pool.add_account(Account("a1"))
    handles[0].release()
    handles[1].release()
    with pytest.raises(ConfigError, match="held by 'o2'"):
        pool.reserve("a1", "alice", soon())
    pool.reserve("a1", "alice", soon(), force=True)
    assert [row.owner for row in pool.status().leases] == ["alice"]
    assert pool.release("a1", "alice") == 1


@pytest.mark.parametrize("force", [False, True])
def test_all_that_is_held_is_released_by_name_though_max_sessions_was_lowered(make_pool, force):
    pool = make_pool([Account("a1", max_sessions=3)])
    handles = [pool.acquire_account(owner="ann") for _ in range(3)]
    pool.add_account(Account("a1", max_sessions=2))
    assert pool.release("a1", "bob" if force else "ann", force=force) == 3
    assert (pool.status().held, pool.status().free) == (0, 2)
    del handles


def test_by_force_it_is_released_whoever_holds_it_and_the_trail_tells(make_pool):
    pool = make_pool(1)
    pool.reserve("a1", "alice", soon())
    with pytest.raises(NotHeld, match="'alice'"):
        pool.release("a1", "bob")
    with pytest.raises(NotHeld):
        pool.release("a1")
    assert pool.release("a1", "bob", force=True) == 1
    event = pool.history("a1", limit=1)[0]
    assert (event.event, event.owner) == ("revoked", "alice")
    assert event.why.startswith("forced by ")
    with pytest.raises(NotHeld, match="nobody"):
        pool.release("a1", force=True)
    pool.acquire_account(timeout=0).release()


def test_a_lock_that_was_set_by_hand_is_released_by_force(make_pool, client):
    pool = make_pool(1)
    client.set(f"redispool:{{{pool.name}}}:lock:a1", "operator", px=60000)
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    with pytest.raises(ConfigError, match="held"):
        pool.reserve("a1", "alice", soon())
    assert pool.release("a1", force=True) == 1
    pool.acquire_account(timeout=0).release()
    client.set(f"redispool:{{{pool.name}}}:lock:a1", "operator", px=60000)
    pool.reserve("a1", "alice", soon(), force=True)
    assert [row.owner for row in pool.status().leases] == ["alice"]
    assert pool.release("a1", "alice") == 1


def test_release_ends_what_the_owner_holds_from_any_host(make_pool, queue_up):
    pool, other = make_pool([Account("a1", max_sessions=2)]), make_pool()
    handles = [pool.acquire_account(owner=owner) for owner in ("ann", "bob")]
    waiter = queue_up(pool)
    assert other.release("a1", "ann") == 1
    waiter.result(5).release()
    assert [row.owner for row in pool.status().leases] == ["bob"]
    handles[1].release()


def test_a_resting_a_dirty_and_a_quarantined_account_can_be_reserved(make_pool):
    pool = make_pool(2, cleanup=True)
    pool.acquire_account("a1").release()
    assert pool.status().to_clean == 1
    pool.reserve("a1", "alice", soon())
    assert (pool.status().to_clean, pool.status().held) == (0, 1)
    assert pool.release("a1", "alice") == 1
    assert pool.status().to_clean == 1  # she has used it
    pool.quarantine("a2", "x")
    pool.reserve("a2", "alice", soon())
    assert pool.release("a2", "alice") == 1
    assert (pool.status().quarantined, pool.status().free) == (1, 0)
    pool.configure(cleanup=None)
    pool.acquire_account("a1").release(cooldown=60)
    pool.reserve("a1", "alice", soon())
    assert pool.status().cooling == 0
    assert pool.release("a1", "alice") == 1
    assert pool.status().free == 1


def test_reservations_count_for_max_per_owner_and_go_with_release_accounts(make_pool):
    pool = make_pool(2, max_per_owner=1)
    pool.reserve("a1", "alice", soon())
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(owner="alice", timeout=0)
    assert pool.release_accounts("alice") == 1
    pool.acquire_account(owner="alice", timeout=0).release()


@pytest.mark.parametrize(
    "until",
    [time.time() - 1, 0, -1, float("nan"), float("inf"), 1e12, "tomorrow", None, True, dt.datetime.now()],  # noqa: DTZ005
    ids=["a second ago", "0", "-1", "nan", "inf", "1e12", "a word", "None", "True", "a time without zone"],
)
def test_a_time_that_is_past_or_none_changes_nothing(make_pool, until):
    pool = make_pool(1)
    with pytest.raises(ConfigError):
        pool.reserve("a1", "alice", until)
    assert pool.status().free == 1


def test_what_cannot_be_reserved(make_pool):
    pool = make_pool([Account("a1"), Account("f1", needs_lock=False)])
    with pytest.raises(ConfigError, match="needs_lock=False"):
        pool.reserve("f1", "alice", soon())
    with pytest.raises(UnknownAccount):
        pool.reserve("zz", "alice", soon())
    with pytest.raises(UnknownAccount):
        pool.release("zz", force=True)
    for note in (None, "a\nb", "x" * 2000):
        with pytest.raises(ConfigError, match="note"):
            pool.reserve("a1", "alice", soon(), note)
    assert pool.status().free == 2


def test_an_account_of_very_many_seats_can_be_reserved(make_pool):
    pool = make_pool([Account("a1", max_sessions=9000)])
    pool.reserve("a1", "alice", soon())
    assert pool.status().held == 9000
    assert pool.release("a1", "alice") == 9000
