"""What each owner holds is listed from the first time that somebody asks for it, and not before: it costs its time."""

from __future__ import annotations

import pytest

from redispool import AccountPool, AcquireTimeout
from redispool.protocol import scripts
from redispool.protocol.channel import PoolChannel

MANY = 700  # more than a hash of the server's is kept in one piece for, and more than a page of `enlist.lua`


@pytest.fixture
def pool_type():
    """One face: some of these do, in the middle of a call, what would keep an event loop from it."""
    return AccountPool


def hold(pool, count, owner="me"):
    return [handle for _ in range(count // 100) for handle in pool.acquire_accounts(100, owner=owner, timeout=0)]


@pytest.fixture
def key(pool_name):
    return lambda rest: f"redispool:{{{pool_name}}}:{rest}"


@pytest.fixture
def owners(client, key):
    return lambda: {name.decode().rpartition(":")[2] for name in client.scan_iter(key("owner:*").replace("{", "[{]"))}


def test_nothing_is_listed_until_somebody_asks(make_pool, client, key, owners):
    pool = make_pool(2)
    held = pool.acquire_account(owner="me")
    assert not owners()
    assert pool.release_accounts("nobody") == 0
    assert owners() == {"me"}
    other = pool.acquire_account(owner="you")
    assert owners() == {"me", "you"}
    held.release()
    other.release()
    assert not owners()


def test_to_ask_a_pool_that_never_was_leaves_no_trace(make_pool, client, key):
    pool = make_pool()
    assert pool.release_accounts("me") == 0
    assert client.keys(key("*").replace("{", "[{]")) == []


def test_what_changes_between_two_pages_is_listed_as_well(make_pool, monkeypatch):
    pool = make_pool(MANY, auto_renew=False)
    held = hold(pool, MANY - 100)
    call, told = PoolChannel.call, []

    def call_and_change(self, script, *arguments, **options):
        reply = yield from call(self, script, *arguments, **options)
        if script is scripts.ENLIST and reply[1] != [b"0"] and not told:
            told.append(reply)
            for handle in held[:50]:
                handle.release()
            hold(pool, 100)
        return reply

    monkeypatch.setattr(PoolChannel, "call", call_and_change)
    assert pool.release_accounts("me") == MANY - 50
    assert told, "there was one page only"
    assert pool.status().held == 0


def test_who_dies_while_he_lists_has_it_listed_by_the_next(make_pool, monkeypatch):
    pool = make_pool(MANY, auto_renew=False)
    hold(pool, MANY)
    call = PoolChannel.call

    def die(self, script, *arguments, **options):
        reply = yield from call(self, script, *arguments, **options)
        if script is scripts.ENLIST:
            raise SystemExit
        return reply

    with monkeypatch.context() as patch:
        patch.setattr(PoolChannel, "call", die)
        with pytest.raises(SystemExit):
            pool.release_accounts("me")
    assert pool.audit() == []
    assert pool.release_accounts("me") == MANY


def test_a_pool_that_is_reset_while_it_is_listed_is_listed_anew(make_pool, client, key, monkeypatch):
    pool = make_pool(MANY, auto_renew=False)
    hold(pool, MANY)
    call, told = PoolChannel.call, []

    def reset(self, script, *arguments, **options):
        reply = yield from call(self, script, *arguments, **options)
        if script is scripts.ENLIST and not told:
            told.append(reply)
            pool.reset()
            client.delete(key("meta"))
            hold(make_pool(MANY, auto_renew=False), MANY)
        return reply

    monkeypatch.setattr(PoolChannel, "call", reset)
    assert pool.release_accounts("me") == MANY
    assert told


def test_a_limit_counts_what_was_held_before_it_was_set(make_pool):
    pool = make_pool(4)
    held = [pool.acquire_account(owner="me") for _ in range(2)]
    pool.configure(max_per_owner=2)
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(owner="me", timeout=0)
    held.pop().release()
    held.append(pool.acquire_account(owner="me", timeout=0))
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(owner="me", timeout=0)
    for handle in held:
        handle.release()
