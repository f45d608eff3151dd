"""Sealed records, and clients that are set up in their own way."""

from __future__ import annotations

import pytest
import redis
from cryptography.fernet import Fernet
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from redispool import Account, SealError

KEY, NEXT_KEY = Fernet.generate_key(), Fernet.generate_key().decode()


@pytest.mark.parametrize(
    "options",
    [
        {"decode_responses": True},
        {"protocol": 3},
        {"protocol": 3, "decode_responses": True},
        {"protocol": 2},
        {"retry": Retry(ConstantBackoff(0.01), 3), "retry_on_error": [redis.TimeoutError]},
        {"socket_timeout": 0.5},
        {"socket_timeout": None},
        {"encoding": "latin-1", "decode_responses": True},
        {"single_connection_client": True},
        {"health_check_interval": 1},
    ],
    ids="-".join,
)
def test_how_a_users_client_is_set_up_does_not_matter(make_pool, server, queue_up, options):
    with server.client(**options) as client:
        pool = make_pool([Account("ü", "sécret", max_sessions=2)], redis=client)
        first, second = pool.acquire_account(), pool.acquire_account("ü")
        waiter = queue_up(pool, timeout=20)
        assert pool.status().held == 2
        first.release()
        got = waiter.result(5)
        assert got.password == "sécret"
        got.lease.renew()
        got.release()
        second.release()
        assert [account.name for account in pool] == ["ü"]
        client.set("still-the-users-own", "1")


def test_a_wait_outlasts_the_clients_own_timeout(make_pool, server, queue_up):
    with server.client(socket_timeout=0.3) as client:
        pool = make_pool(1, redis=client)
        held = pool.acquire_account()
        waiter = queue_up(pool)
        with pytest.raises(TimeoutError):
            waiter.result(1)
        held.release()
        waiter.result(5).release()


def test_a_client_of_the_users_is_left_open(make_pool, server):
    with server.client() as client:
        make_pool(1, redis=client).acquire_account().release()
        assert client.ping()


def test_credentials_are_sealed_at_rest(make_pool, client, pool_name):
    pool = make_pool([Account("a1", "hush-password", "hush-too")], cipher=KEY)
    record = client.hget(f"redispool:{{{pool_name}}}:accounts", "a1")
    assert b"hush" not in record
    with pool.lease() as account:
        assert (account.password, account.authorization_password) == ("hush-password", "hush-too")
    account = pool.get_account_from_name("a1")
    account.set_password("hush-new")
    account.set_name("b1")
    assert b"hush" not in client.hget(f"redispool:{{{pool_name}}}:accounts", "b1")
    with make_pool(cipher=lambda: [NEXT_KEY, KEY]).lease() as account:
        assert account.password == "hush-new"


def test_who_has_no_key_or_another_cannot_read_and_holds_nothing(make_pool):
    pool = make_pool(1, cipher=KEY)
    for cipher in (None, NEXT_KEY):
        stranger = make_pool(cipher=cipher)
        for _ in range(2):
            with pytest.raises(SealError, match=r"is sealed.*REDISPOOL_KEY"):
                stranger.acquire_account()
        with pytest.raises(SealError):
            stranger.get_account_from_name("a1")
        assert stranger.status().held == 0
    assert pool.status().free == 1


def test_keys_come_from_the_environment(make_pool, client, pool_name, monkeypatch):
    monkeypatch.setenv("REDISPOOL_KEY", f"{NEXT_KEY},{KEY.decode()}")
    with make_pool(1).lease() as account:
        assert account.password == "secret-1"
    assert b"secret" not in client.hget(f"redispool:{{{pool_name}}}:accounts", "a1")


def test_a_record_that_was_moved_to_another_account_does_not_open(make_pool, client, pool_name):
    pool = make_pool(2, cipher=KEY)
    accounts = f"redispool:{{{pool_name}}}:accounts"
    client.hset(accounts, "a1", client.hget(accounts, "a2"))
    with pytest.raises(SealError):
        pool.get_account_from_name("a1")


def test_the_url_comes_from_the_environment(make_pool, server, monkeypatch):
    monkeypatch.setenv("REDISPOOL_URL", server.url)
    with make_pool(1, redis=None).lease() as account:
        assert account.name == "a1"
    assert redis.Redis.from_url(server.url).exists(f"redispool:{{{make_pool(redis=None).name}}}:members")
