"""Servers that lose their data, run out of memory, turn into replicas, or have their clocks set."""

from __future__ import annotations

import shutil
import time

import pytest
import redis

from redispool import Account, AccountPool, AcquireTimeout, LeaseLost, PoolEmpty
from tests import faces
from tests.behaviour.conftest import check_at_rest
from tests.conftest import wait_until
from tests.servers import FAKETIME, ClockedServer

FACES = pytest.mark.parametrize("face", [AccountPool, faces.Pool], ids=["blocking", "asyncio"])
KINDS = pytest.mark.parametrize("kind", ["valkey", "redis"])
TTL = 1.0


@pytest.fixture
def open_pool(pool_name):
    def make(face, server, accounts=1, **options):
        given = [Account(f"a{n}") for n in range(1, accounts + 1)]
        return face(given, name=pool_name, redis=server.url, **{"ttl": TTL, **options})

    return make


# -- memory ----------------------------------------------------------------------------------------------------------


@KINDS
@FACES
def test_a_flushed_pool_tells_those_who_wait_and_hold_and_goes_on_once_it_is_filled(
    own_server, open_pool, pool_name, start, face, kind
):
    server = own_server(kind)
    pool = open_pool(face, server)
    held = pool.acquire_account()
    waiter = start(pool.acquire_account)
    wait_until(lambda: pool.status().waiting == 1)
    with server.client() as client:
        client.flushall()
        assert isinstance(waiter.exception(10), PoolEmpty)
        with pytest.raises(LeaseLost):
            held.release()
        pool.add_account([Account("a1")])
        pool.acquire_account(timeout=5).release()
        check_at_rest(client, "redispool", pool_name)


@KINDS
@FACES
def test_who_waits_while_a_pool_is_flushed_and_filled_at_once_is_served(
    own_server, open_pool, pool_name, start, face, kind
):
    server = own_server(kind)
    pool = open_pool(face, server)
    held = pool.acquire_account()
    waiters = [start(pool.acquire_account, timeout=30) for _ in range(3)]
    wait_until(lambda: pool.status().waiting == 3)
    with server.client() as client:
        with client.pipeline() as pipeline:  # nobody is served in between
            pipeline.flushall()
            pipeline.rpush("queue-of-nobody", 1)
            pipeline.execute()
        pool.add_account([Account("a1")])
        with pytest.raises(LeaseLost):
            held.release()
        for _ in waiters:
            done = wait_until(lambda: [one for one in waiters if one.done()], 15)
            waiters.remove(done[0])
            try:
                done[0].result().release()
            except PoolEmpty:  # it asked in the instant in which there was nothing
                continue
        check_at_rest(client, "redispool", pool_name)


@KINDS
@FACES
def test_at_maxmemory_holders_keep_what_they_have_and_the_others_wait_until_there_is_room(
    own_server, open_pool, pool_name, start, face, kind
):
    server = own_server(kind)
    pool = open_pool(face, server, 2)
    impatient = face(name=pool_name, redis=server.url, patience=0.2)
    held, other = pool.acquire_account(), pool.acquire_account()
    waiter = start(pool.acquire_account, timeout=60)
    wait_until(lambda: pool.status().waiting == 1)
    impatient.status()
    with server.client() as client:
        client.config_set("maxmemory", 1)
        newcomer, releasing = start(pool.acquire_account, timeout=60), start(other.release)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            impatient.add_account(Account("a3"))
        with pytest.raises((redis.exceptions.OutOfMemoryError, AcquireTimeout)):
            impatient.acquire_account(timeout=0.5)
        until = held.lease.valid_until
        wait_until(lambda: held.lease.valid_until > until + TTL)
        assert not newcomer.done()
        client.config_set("maxmemory", 0)
        releasing.result(10)
        handles = [waiter.result(10)]
        held.release()
        handles.append(newcomer.result(10))
        for handle in handles:
            handle.release()
        check_at_rest(client, "redispool", pool_name)


@KINDS
def test_at_maxmemory_an_account_can_be_given_back(own_server, open_pool, kind):
    server = own_server(kind)
    pool = open_pool(AccountPool, server, 1, ttl=60, patience=1)
    held = pool.acquire_account()
    with server.client() as client:
        client.config_set("maxmemory", 1)
        held.release()
        assert pool.status().free == 1
        client.config_set("maxmemory", 0)


# -- persistence -----------------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("fsync", ["always", "everysec", "no"])
def test_a_killed_server_with_a_file_has_every_lease_that_it_told_of(
    own_server, open_pool, pool_name, worker, fsync, kind
):
    """The system has what was written, also where nothing waited for the disk: only a power cut would lose that."""
    server = own_server(kind, appendonly="yes", appendfsync=fsync)
    pool = open_pool(AccountPool, server, 5, ttl=20)
    fences = {}
    for _ in range(4):
        handle = pool.acquire_account(owner="me", timeout=5)
        fences[handle.name] = handle.lease.fence
    server.restart()
    assert {lease.account for lease in pool.status().leases} == set(fences)
    fresh = pool.acquire_account(owner="me", timeout=5)
    assert fresh.name not in fences
    assert fresh.lease.fence > max(fences.values())
    assert pool.release_accounts("me") == 5
    with server.client() as client:
        check_at_rest(client, "redispool", pool_name)


@FACES
def test_a_killed_server_without_a_file_has_forgotten_the_pool_which_can_be_filled_anew(
    own_server, open_pool, pool_name, start, face
):
    server = own_server("valkey", appendonly="no")
    pool = open_pool(face, server)
    held = pool.acquire_account()
    waiter = start(pool.acquire_account)
    wait_until(lambda: pool.status().waiting == 1)
    server.restart()
    assert isinstance(waiter.exception(20), PoolEmpty)
    with pytest.raises(LeaseLost):
        held.release()
    pool.add_account([Account("a1")])
    pool.acquire_account(timeout=5).release()


@KINDS
def test_a_server_that_comes_back_with_an_old_file_ends_the_leases_that_it_forgot(
    own_server, open_pool, pool_name, kind
):
    """As when a backup is restored: what it does not know is lost, and what it remembers has expired or is held."""
    server = own_server(kind, appendonly="yes", appendfsync="always")
    pool = open_pool(AccountPool, server, 3, ttl=0.5, auto_renew=False)
    pool.acquire_account(owner="then")
    backup = server.directory.with_name(server.directory.name + "-backup")
    shutil.copytree(server.directory / "appendonlydir", backup)
    try:
        now = pool.acquire_account(owner="now", ttl=60)
        server.kill()
        shutil.rmtree(server.directory / "appendonlydir")
        shutil.copytree(backup, server.directory / "appendonlydir")
        server.start()
        assert pool.status().held <= 1
        with pytest.raises(LeaseLost):
            now.release()
        again = [pool.acquire_account(timeout=5, ttl=10) for _ in range(3)]
        assert {handle.name for handle in again} == {"a1", "a2", "a3"}
        assert pool.release_accounts(None) == 3
    finally:
        shutil.rmtree(backup)


# -- roles -----------------------------------------------------------------------------------------------------------


@KINDS
@FACES
def test_a_server_that_becomes_a_replica_for_a_while_is_waited_for(own_server, open_pool, pool_name, start, face, kind):
    server = own_server(kind)
    pool = open_pool(face, server, ttl=10)
    held = pool.acquire_account()
    waiter = start(pool.acquire_account, timeout=30)
    wait_until(lambda: pool.status().waiting == 1)
    with server.client() as client:
        client.replicaof("127.0.0.1", 1)
        releasing = start(held.release)
        time.sleep(0.3)  # so that it is refused at least once
        assert not releasing.done()
        assert not waiter.done()
        client.replicaof("NO", "ONE")
        releasing.result(10)
        waiter.result(10).release()
        check_at_rest(client, "redispool", pool_name)


# -- clocks ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def clocked():
    if FAKETIME is None:
        pytest.skip("libfaketime is not installed (apt-get install faketime)")
    server = ClockedServer()
    yield server
    server.remove()


@FACES
def test_a_clock_that_is_set_ahead_ends_the_leases_and_their_holders_are_told(clocked, open_pool, pool_name, face):
    pool = open_pool(face, clocked, ttl=5.0)
    held = pool.acquire_account()
    told = []
    held.lease.lost_event.connect(told.append)
    clocked.set_clock(180)
    fresh = pool.acquire_account(timeout=5)  # at once: by the server's clock, it has been abandoned for long
    assert fresh.lease.fence > held.lease.fence
    wait_until(lambda: told, 5)  # at its next renewal
    with pytest.raises(LeaseLost):
        held.release()
    until = fresh.lease.valid_until
    wait_until(lambda: fresh.lease.valid_until > until, 5)
    fresh.release()
    with clocked.client() as client:
        check_at_rest(client, "redispool", pool_name)


@FACES
def test_a_waiter_whose_servers_clock_is_set_ahead_does_not_believe_its_lease_to_last_for_minutes(
    clocked, open_pool, pool_name, start, face
):
    pool = open_pool(face, clocked, ttl=TTL)
    held = pool.acquire_account(ttl=600)
    waiter = start(pool.acquire_account, timeout=30)
    wait_until(lambda: pool.status().waiting == 1)
    clocked.set_clock(180)
    held.release()
    fresh = waiter.result(10)
    assert fresh.lease.valid_until <= time.monotonic() + TTL
    until = fresh.lease.valid_until
    wait_until(lambda: fresh.lease.valid_until > until, 5)  # so the keeper renews it in time
    fresh.release()


@FACES
def test_a_clock_that_is_set_back_changes_no_turn_and_a_living_holder_shortens_its_lease_again(
    clocked, open_pool, pool_name, start, face
):
    clocked.set_clock(180)
    pool = open_pool(face, clocked, ttl=TTL)
    held = pool.acquire_account()
    first = start(pool.acquire_account, owner="first", timeout=30)
    wait_until(lambda: pool.status().waiting == 1)
    clocked.set_clock(0)
    second = start(pool.acquire_account, owner="second", timeout=30)
    wait_until(lambda: pool.status().waiting == 2)
    assert [one.owner for one in pool.waiting()] == ["first", "second"]
    status = pool.status()
    wait_until(lambda: pool.status().leases[0].expires_at < status.at + 2 * TTL)  # the keeper has renewed it
    held.release()
    first.result(10).release()
    second.result(10).release()
    with clocked.client() as client:
        check_at_rest(client, "redispool", pool_name)
