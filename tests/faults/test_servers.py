"""Servers that die, forget scripts and cut off clients; and what they are asked in all."""

from __future__ import annotations

import threading

import pytest

from redispool import Account, AccountPool
from tests.behaviour.conftest import check_at_rest
from tests.conftest import wait_until


def blocked(client):
    return client.info("clients")["blocked_clients"]


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_a_killed_server_that_comes_back_finds_holders_and_waiters(own_server, pool_name, worker, kind):
    server = own_server(kind, appendonly="yes", appendfsync="always")
    AccountPool([Account("a1")], name=pool_name, redis=server.url)
    holder, waiter = worker(server.url, ttl=5), worker(server.url, ttl=5)
    mine = holder.do("acquire")
    waiter.send("acquire")
    with server.client() as client:
        wait_until(lambda: blocked(client))
    server.restart()
    assert holder.do("renew") == "renewed"
    with server.client() as client:
        wait_until(lambda: blocked(client))
        assert client.get(f"redispool:{{{pool_name}}}:lock:a1").decode() == mine["token"]
        assert holder.do("release") == "released"
        theirs = waiter.answer()
        assert theirs["fence"] > mine["fence"]
        assert waiter.do("release") == "released"
        check_at_rest(client, "redispool", pool_name)


def test_a_server_that_forgets_its_scripts_is_told_them_again(make_pool, client, queue_up):
    pool = make_pool(1)
    held = pool.acquire_account()
    waiter = queue_up(pool, ttl=0.2)  # it asks again each time
    client.script_flush()
    held.lease.renew()
    client.script_flush()
    held.release()
    account = waiter.result(5)
    client.script_flush()
    account.release()
    client.script_flush()
    assert pool.status().free == 1


def test_waiters_and_holders_whose_connections_are_killed_carry_on(make_pool, client, queue_up, start):
    pool = make_pool(1)
    held = pool.acquire_account()
    first, second = queue_up(pool), queue_up(pool)
    for _ in range(3):
        wait_until(lambda: blocked(client) == 2)
        client.client_kill_filter(_type="normal", skipme=True)
    held.release()
    account = first.result(5)
    assert not second.done()
    client.client_kill_filter(_type="normal", skipme=True)
    account.lease.renew()
    client.client_kill_filter(_type="normal", skipme=True)
    account.release()
    second.result(5).release()
    assert pool.status().waiting == 0


def test_waiters_that_are_unblocked_with_an_error_keep_their_place(make_pool, client, queue_up):
    pool = make_pool(1)
    held = pool.acquire_account()
    first, second = queue_up(pool), queue_up(pool)
    for reason in (True, False):
        wait_until(lambda: blocked(client) == 2)
        for one in client.client_list(_type="normal"):
            if one["cmd"] == "blpop":
                client.client_unblock(one["id"], error=reason)
    held.release()
    account = first.result(5)
    assert not second.done()
    account.release()
    second.result(5).release()


def test_clients_that_are_paused_carry_on(make_pool, client, start):
    pool = make_pool(1)
    pool.acquire_account().release()
    client.client_pause(300)
    pool.acquire_account(timeout=5).release()


@pytest.fixture
def counted(own_server, pool_name):
    """A pool on a server of its own, and how often that was sent each kind of command since the last time."""
    server = own_server()
    pool = AccountPool([Account("a1"), Account("a2")], name=pool_name, redis=server.url)
    with pool.lease(), pool.lease():
        pass
    client = server.client()

    def calls():
        stats = client.info("commandstats")
        client.config_resetstat()
        kinds = ("evalsha", "eval", "blpop", "script")
        found = {kind: stats.get(f"cmdstat_{kind}", {"calls": 0})["calls"] for kind in kinds}
        return {kind: count for kind, count in found.items() if count}

    calls()
    yield pool, client, calls
    client.close()


def test_a_free_account_costs_one_script_to_acquire_and_one_to_release(counted):
    pool, _, calls = counted
    account = pool.acquire_account()
    assert calls() == {"evalsha": 1}
    account.release()
    assert calls() == {"evalsha": 1}
    particular = pool.acquire_account("a2", timeout=5)
    assert calls() == {"evalsha": 1}
    particular.release()
    with pool.lease():
        pass
    assert calls() == {"evalsha": 3}


def test_a_contended_account_costs_one_script_and_one_blpop(counted, start):
    pool, client, calls = counted
    held = [pool.acquire_account() for _ in range(2)]
    waiter = start(pool.acquire_account)
    wait_until(lambda: blocked(client))
    assert calls() == {"evalsha": 3}  # and the BLPOP is counted when it ends
    held[0].release()
    account = waiter.result(5)
    assert calls() == {"evalsha": 1, "blpop": 1}
    account.release()
    held[1].release()


def test_a_hundred_thousand_accounts_are_added_in_few_round_trips(counted, pool_name):
    pool, _, calls = counted
    told = []
    accounts = [Account(f"many-{number}", "secret") for number in range(100_000)]
    assert pool.add_account(accounts, progress=lambda done, total: told.append((done, total))) == 100_000
    assert sum(calls().values()) <= 100_000 / 400
    assert told[-1] == (100_000, 100_000)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(pool) == 100_002
    calls()
    with pool.lease(timeout=0), pool.lease("many-99999", timeout=0):
        assert calls() == {"evalsha": 2}


def test_a_keeper_renews_all_leases_of_a_pool_in_one_call(own_server, pool_name):
    server = own_server()
    pool = AccountPool([Account(f"a{number}") for number in range(200)], name=pool_name, redis=server.url, ttl=1.5)
    handles = [pool.acquire_account(timeout=0) for _ in range(200)]
    with server.client() as client:
        first = min(lease.expires_at for lease in pool.status().leases)
        wait_until(lambda: min(lease.expires_at for lease in pool.status().leases) > first + 0.4)
        client.config_resetstat()
        expiries = {handle.lease.expires_at for handle in handles}
        wait_until(lambda: not expiries & {handle.lease.expires_at for handle in handles})
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] <= 3
    for handle in handles:
        handle.release()


def test_there_is_one_keeper_thread_however_many_pools(make_pool, pool_name):
    pools = [make_pool(1, name=f"{pool_name}-{number}") for number in range(3)]
    before = set(threading.enumerate())  # the keepers of other tests, perhaps
    handles = [pool.acquire_account() for pool in pools]
    started = [thread for thread in threading.enumerate() if thread not in before]
    assert len([thread for thread in started if thread.name == "redispool-keeper"]) <= 1
    for handle in handles:
        handle.release()
