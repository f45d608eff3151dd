"""What stands in Redis though redispool did not put it there: it is named, and left alone or put right."""

from __future__ import annotations

import pytest

from redispool import Account, AccountPool, AcquireTimeout, LeaseLost, ProtocolMismatch
from redispool.protocol.keys import PoolKeys
from tests import invariants


@pytest.fixture
def keys(pool_name):
    return PoolKeys("redispool", pool_name)


def dump(client, keys) -> dict:
    return {key: client.dump(key) for key in client.scan_iter(f"redispool:{{{keys.pool}}}*")}


FOREIGN = [
    ("meta", "SET"), ("members", "SET"), ("rotation", "SADD"), ("places", "RPUSH"), ("accounts", "SET"),
    ("hashes", "SADD"), ("leases", "SET"), ("held", "RPUSH"), ("cooling", "SADD"), ("queue", "SET"),
    ("requests", "SADD"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "writer"), FOREIGN)
def test_a_key_of_the_wrong_type_is_named_before_anything_changes_and_each_time_anew(server, client, keys, key, writer):
    client.execute_command(writer, f"redispool:{{{keys.pool}}}:{key}", "somebody's own")
    pools, before = client.smembers("redispool:pools"), dump(client, keys)
    pool = AccountPool(name=keys.pool, redis=server.url)
    for attempt in (
        lambda: pool.add_account(Account("a1")), lambda: pool.acquire_account(timeout=0), pool.n_accounts,
        lambda: pool.add_account(Account("a1")), lambda: pool.release_accounts("me"), pool.reset,
    ):  # fmt: skip
        with pytest.raises(ProtocolMismatch, match=f"'redispool:{{{keys.pool}}}:{key}' should hold a"):
            attempt()
    assert dump(client, keys) == before
    assert client.smembers("redispool:pools") == pools


def test_data_of_a_newer_version_is_left_alone(server, client, keys):
    client.hset(keys.meta, "version", "99")
    pools, before = client.smembers("redispool:pools"), dump(client, keys)
    pool = AccountPool(name=keys.pool, redis=server.url)
    for attempt in (lambda: pool.add_account(Account("a1")), lambda: pool.acquire_account(timeout=0), pool.reset):
        with pytest.raises(ProtocolMismatch, match="protocol version 99"):
            attempt()
    assert dump(client, keys) == before
    assert client.smembers("redispool:pools") == pools


@pytest.mark.parametrize("name", ["mismatch", "wrongtype", "again", "granted"])
def test_an_account_may_have_the_name_of_a_reply(make_pool, name):
    pool = make_pool([Account(name), Account("b")])
    assert [account.name for account in pool.accounts] == [name, "b"]
    assert [account.name for account in pool.unlocked_accounts] == [name, "b"]
    with pool.lease(name, owner=name):
        assert pool.status().leases[0].account == name
        assert pool.release_accounts(name) == 1


def test_an_owner_whose_index_went_astray_is_released_nevertheless(make_pool, client, keys):
    pool = make_pool(2)
    pool.acquire_account(owner="me")
    client.sadd(f"redispool:{{{keys.pool}}}:owner:me", "ghost")
    assert pool.release_accounts("me") >= 1
    assert pool.status().held == 0


def test_a_lock_of_the_wrong_type_is_an_error_and_costs_no_seat(make_pool, client, keys):
    pool = make_pool([Account("a1")])
    lock = f"redispool:{{{keys.pool}}}:lock:a1"
    client.rpush(lock, "somebody's own")
    for account in (None, "a1", None):
        with pytest.raises(ProtocolMismatch, match="holds something else"):
            pool.acquire_account(account, timeout=0)
    client.delete(lock)
    pool.acquire_account(timeout=0).release()
    invariants.check(client, "redispool", keys.pool)


def test_a_lock_that_an_operator_deleted_frees_its_seat_once(make_pool, client, keys):
    pool = make_pool([Account("a1"), Account("a2")])
    held = pool.acquire_account()
    client.delete(f"redispool:{{{keys.pool}}}:lock:a1")
    pool.add_account(Account("a1", max_sessions=2))  # which looks at each lock
    pool.add_account(Account("a1"))
    with pytest.raises(LeaseLost):
        held.release()
    assert pool.status().free == 2


def test_an_account_that_is_renamed_under_an_operators_lock_comes_when_that_ends(make_pool, client, keys):
    pool = make_pool([Account("a1")])
    client.set(f"redispool:{{{keys.pool}}}:lock:a1", "maintenance", px=200)
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    pool.get_account_from_name("a1").set_name("b1")
    with pool.lease(timeout=5) as account:
        assert account.name == "b1"
    invariants.check(client, "redispool", keys.pool)
