"""The audit trail says who did what, when and why; it is capped by length and by age, and holds no secrets."""

from __future__ import annotations

import os
import threading
import time

import pytest

from redispool import Account, AccountPool, LeaseLost
from tests.conftest import wait_until

FUTURE = 4_000_000_000.0


def told(pool, *kinds):
    """The events of these kinds, the oldest first."""
    return [event for event in reversed(pool.history(limit=1000)) if event.event in kinds]


def test_every_change_to_the_members_is_told_with_its_author(make_pool):
    pool = make_pool()
    pool.add_account([Account("a1", "x"), Account("a2", "x")])
    pool.add_account([Account("a1", "y"), Account("a2", "x")])
    pool.get_account_from_name("a1").set_password("z")
    pool.get_account_from_name("a1").set_name("b1")
    pool.remove_account("b1")
    pool.reset()
    events = told(pool, "added", "changed", "renamed", "removed", "reset")
    assert [(event.event, event.account, event.why) for event in events] == [
        ("added", "a1", ""), ("added", "a2", ""), ("changed", "a1", ""), ("changed", "a1", ""),
        ("renamed", "b1", "it was a1"), ("removed", "b1", ""), ("reset", "", ""),
    ]  # fmt: skip
    assert all(f":{os.getpid()}:" in event.owner for event in events)


def test_a_crowd_of_changes_is_one_entry_and_drives_out_no_others(make_pool):
    pool = make_pool(300)
    (event,) = told(pool, "added")
    assert (event.account, event.why) == ("", "300 accounts")


def test_rules_reservations_and_forced_releases_are_told(make_pool):
    pool = make_pool(2)
    pool.configure(cooldown=5)
    pool.configure(cooldown=5)
    pool.acquire_account("a1", owner="bob")
    pool.release("a1", force=True)
    pool.acquire_account("a2", owner="bob")
    pool.reserve("a2", "carol", FUTURE, "the audit", force=True)
    pool.quarantine("a1", "locked out")
    pool.restore("a1")
    assert [(event.event, event.account, event.why.split(" by ")[0]) for event in told(
        pool, "configured", "revoked", "reserved", "quarantined", "restored"
    )] == [
        ("configured", "", '{"cooldown": 5000}'), ("revoked", "a1", "forced"), ("revoked", "a2", "reserved"),
        ("reserved", "a2", "for carol: the audit"), ("quarantined", "a1", "locked out"), ("restored", "a1", ""),
    ]  # fmt: skip


def test_a_hand_out_tells_host_process_and_user_of_the_server_whatever_owner_was_named(
    make_pool, client, server, pool_name
):
    watched = make_pool(1)
    client.execute_command("ACL", "SETUSER", "carol.ops", "on", ">sesame", "+@all", "~*")
    try:
        pool = AccountPool(name=pool_name, redis=f"redis://carol.ops:sesame@127.0.0.1:{server.port}/0")
        pool.acquire_account(owner="nobody in particular").release()
        pool.quarantine("a1", "why not")
    finally:
        client.execute_command("ACL", "DELUSER", "carol.ops")
    (granted,) = told(watched, "granted")
    assert granted.owner == "nobody in particular"
    assert granted.token.startswith("carol.ops@")
    assert f":{os.getpid()}:" in granted.token
    assert told(watched, "quarantined")[0].owner.startswith("carol.ops@")


def test_the_trail_is_capped_by_age(make_pool):
    pool = make_pool(1, history_age=0.3)
    pool.acquire_account().release()
    started = time.monotonic()
    assert "added" in [event.event for event in pool.history()]
    wait_until(lambda: time.monotonic() > started + 0.35)
    pool.acquire_account(owner="late").release()
    assert [(event.event, event.owner) for event in pool.history()] == [("released", "late"), ("granted", "late")]
    assert pool.status().policy["history_age"] == pytest.approx(0.3)


def test_the_trail_is_capped_by_length_or_off(make_pool, client, pool_name):
    pool = make_pool(1, history=10)
    for _ in range(200):
        pool.acquire_account().release()
    assert client.xlen(f"redispool:{{{pool_name}}}:events") < 250
    pool.configure(history=0)
    before = client.xlen(f"redispool:{{{pool_name}}}:events")
    pool.acquire_account().release()
    assert client.xlen(f"redispool:{{{pool_name}}}:events") == before


def test_the_trail_holds_no_password(make_pool, client, pool_name):
    pool = make_pool([Account("a1", "hunter2", "hunter2")])
    pool.get_account_from_name("a1").set_password("hunter2-new")
    with pytest.raises(PermissionError), pool.lease(bad_on=(PermissionError,)) as account:
        raise PermissionError(account.password)
    assert "bad" in [event.event for event in pool.history()]
    assert "hunter2" not in repr(client.xrange(f"redispool:{{{pool_name}}}:events"))


def test_a_lease_lost_to_an_operators_lock_is_told_with_what_became_of_it(make_pool, client, pool_name):
    pool = make_pool(1, auto_renew=False)
    lock = f"redispool:{{{pool_name}}}:lock:a1"
    for spoil in (lambda: client.set(lock, "mine", px=50), lambda: client.delete(lock)):
        held = pool.acquire_account(owner="bob", timeout=5)
        spoil()
        with pytest.raises(LeaseLost):
            held.release()
    assert [(event.owner, event.fence, event.why) for event in told(pool, "lost")] == [
        ("bob", 1, "somebody set its lock"), ("bob", 2, "somebody removed its lock"),
    ]  # fmt: skip


def test_what_nobody_can_read_hides_none_of_the_others(make_pool, client, pool_name):
    pool = make_pool(1)
    for junk in ({"granted": "a1\nbob\nforged\n\n\n"}, {"granted": "a1\nbob\n" + "9" * 5000 + "\n\n\n"}, {"x": "y"}):
        client.xadd(f"redispool:{{{pool_name}}}:events", junk)
    with pool.lease(owner="bob"):
        pass
    events = [event.event for event in reversed(pool.history())]
    assert events == ["added", "unreadable", "unreadable", "unreadable", "granted", "released"]
    assert pool.waiting() == []  # which looks at the trail, too


def test_every_end_of_a_lease_tells_host_process_and_user_as_its_beginning_does(make_pool, client, pool_name):
    """Its beginning may have left the trail by then."""
    pool = make_pool(2, auto_renew=False)
    pool.acquire_account(owner="bob").release()
    pool.acquire_account(owner="bob").release(cooldown=0.001)
    pool.acquire_account("a1", owner="bob")
    pool.release("a1", force=True)
    pool.acquire_account("a1", owner="bob")
    pool.reserve("a1", "carol", FUTURE, force=True)
    pool.acquire_account("a2", owner="bob", ttl=0.05)
    client.delete(f"redispool:{{{pool_name}}}:lock:a2")
    pool.release_accounts("bob")
    pool.acquire_account("a2", owner="bob", ttl=0.05)
    wait_until(lambda: not client.exists(f"redispool:{{{pool_name}}}:lock:a2"))
    pool.acquire_account("a2", owner="late", timeout=5)
    pool.reset()
    ends = told(pool, "released", "expired", "lost", "revoked", "reset")
    assert {event.event for event in ends} == {"released", "expired", "revoked", "reset"}
    assert all(f":{os.getpid()}:" in event.token for event in ends if event.account)


def test_rules_that_are_added_and_removed_are_told_to_the_pool_that_they_name(manager):
    pool = manager.pool("lab")
    pool.add_account(Account("a1"))
    for _ in range(2):
        manager.add_pool(pool, "lab-*")
    manager.add_pool(pool, lambda _: False)
    manager.remove_pool(pool, "lab-*")
    manager.add_pool(pool, ["x", "y"])
    manager.remove_pool("lab", None)
    assert [(event.event, event.why) for event in told(pool, "routed", "unrouted")] == [
        ("routed", '{"match":[{"glob":"lab-*"}],"pool":"lab"}'),
        ("unrouted", '{"match":[{"glob":"lab-*"}],"pool":"lab"}'),
        ("routed", '{"match":[{"glob":"x"},{"glob":"y"}],"pool":"lab"}'),
        ("unrouted", "all rules"),
    ]
    assert all(f":{os.getpid()}:" in event.owner for event in told(pool, "routed", "unrouted"))


def test_each_grant_tells_how_long_it_was_waited_for(make_pool):
    pool = make_pool(1)
    held = pool.acquire_account(owner="first")
    for owner, account in (("any", None), ("that one", "a1")):  # two ways through the scripts
        waiter = threading.Thread(target=lambda o=owner, a=account: pool.acquire_account(a, o, timeout=30).release())
        waiter.start()
        wait_until(pool.waiting)
        began = pool.waiting()[0].since
        wait_until(lambda began=began: pool.status().at >= began + 0.05)
        held.release()
        waiter.join()
        held = pool.acquire_account(owner="at once")
    held.release()
    waited = {event.owner: event.waited for event in told(pool, "granted")}
    assert waited["first"] == waited["at once"] == 0.0
    assert min(waited["any"], waited["that one"]) >= 0.05
    assert all(event.waited is None for event in pool.history() if event.event != "granted")
