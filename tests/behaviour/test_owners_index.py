"""What each owner holds is listed from the first time that somebody asks for it, and not before: it costs its time."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, wait

import pytest

from redispool import Account, AccountPool, AcquireTimeout
from redispool.protocol import scripts
from redispool.protocol.channel import PoolChannel
from tests.servers import Server

MANY = 700  # more than a hash of the server's is kept in one piece for, and more than a page of `enlist.lua`


@pytest.fixture
def pool_type():
    """One face: some of these do, in the middle of a call, what would keep an event loop from it."""
    return AccountPool


CALL = PoolChannel.call


def die(self, script, *arguments, **options):
    """Call a script, and be gone when it was one that lists."""
    reply = yield from CALL(self, script, *arguments, **options)
    if script is scripts.ENLIST:
        raise SystemExit
    return reply


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
        if script is scripts.ENLIST and reply[1] == [0] and not told:
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


def test_a_restart_of_the_server_between_two_pages_leaves_nothing_out(server, monkeypatch):
    """Another process of the server has other cursors."""
    own = Server(server.kind, appendonly="yes", appendfsync="always")
    try:
        accounts = [Account(f"a{number}") for number in range(3 * MANY)]
        pool = AccountPool(accounts, name="p", redis=own.url, auto_renew=False)
        hold(pool, 3 * MANY)
        call, told = PoolChannel.call, []

        def call_and_restart(self, script, *arguments, **options):
            reply = yield from call(self, script, *arguments, **options)
            if script is scripts.ENLIST:
                told.append(reply)
                if len(told) == 2:
                    own.restart()
            return reply

        monkeypatch.setattr(PoolChannel, "call", call_and_restart)
        assert pool.release_accounts("me") == 3 * MANY
        assert len(told) > 3
    finally:
        own.remove()


def test_who_began_to_list_a_pool_that_was_reset_does_not_end_it_for_who_began_after(
    make_pool, client, key, monkeypatch
):
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
            with monkeypatch.context() as patch:
                patch.setattr(PoolChannel, "call", die)
                with pytest.raises(SystemExit):
                    make_pool().release_accounts("me")
        return reply

    monkeypatch.setattr(PoolChannel, "call", reset)
    assert pool.release_accounts("me") == MANY


def test_a_crowd_of_leases_that_end_in_one_instant_is_listed(make_pool, client, key):
    pool = make_pool(MANY, auto_renew=False)
    hold(pool, MANY)
    ends = int(client.zrange(key("leases"), 0, 0, withscores=True)[0][1]) + 1000
    tokens = client.zrange(key("leases"), 0, -1)
    client.zadd(key("leases"), dict.fromkeys(tokens[10:500], ends))
    assert pool.release_accounts("me") == MANY


def test_a_lease_that_is_renewed_to_end_sooner_is_listed(make_pool, monkeypatch):
    """`enlist.lua` goes by the ends of leases, and has passed the new one."""
    pool = make_pool(MANY, auto_renew=False)
    soon = hold(pool, 500)
    late = pool.acquire_accounts(200, owner="me", ttl=600)
    call, told = PoolChannel.call, []

    def renew(self, script, *arguments, **options):
        reply = yield from call(self, script, *arguments, **options)
        if script is scripts.ENLIST and not told:
            told.append(reply)
            for handle in late:
                handle.lease.renew(ttl=1)
        return reply

    for handle in soon:
        handle.lease.renew(ttl=60)
    monkeypatch.setattr(PoolChannel, "call", renew)
    assert pool.release_accounts("me") == MANY
    assert told == [(told[0][0], [0])]


def test_to_list_what_is_gone_leaves_no_trace(make_pool, client, key, monkeypatch):
    pool = make_pool(1)
    pool.acquire_account(owner="me")
    call = PoolChannel.call

    def vanish(self, script, *arguments, **options):
        if script is scripts.ENLIST:
            client.delete(*client.keys(key("*").replace("{", "[{]")))
        return (yield from call(self, script, *arguments, **options))

    monkeypatch.setattr(PoolChannel, "call", vanish)
    assert pool.release_accounts("me") == 0
    assert client.keys(key("*").replace("{", "[{]")) == []


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


def test_those_who_are_served_as_a_limit_is_set_are_counted(make_pool, queue_up, client, key):
    pool = make_pool(3)
    for handle in [pool.acquire_account(owner="x") for _ in range(3)]:
        handle.release(cooldown=5)
    waiting = [queue_up(pool, owner="me") for _ in range(3)]
    ends = max(score for _, score in client.zrange(key("cooling"), 0, -1, withscores=True))
    client.zadd(key("cooling"), dict.fromkeys(client.zrange(key("cooling"), 0, -1), ends - 10_000))
    pool.configure(max_per_owner=1)
    first = next(iter(wait(waiting, 5, FIRST_COMPLETED).done)).result()
    assert client.scard(key("owner:me")) == client.hlen(key("held")) == 1
    first.release()
    for one in waiting:
        if one.result(5) is not first:
            one.result().release()
