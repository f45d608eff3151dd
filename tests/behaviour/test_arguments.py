"""Bad input: a clear error, and nothing has changed."""

from __future__ import annotations

import pytest

from redispool import Account, ConfigError

NAN, INFINITE = float("nan"), float("inf")
BAD_NAMES = ["", "x" * 1025, "a\nb", "a\0", "tab\t", "\x7f", "\x85", "\ud800", 7, b"a1", ["a1"]]
BAD_TIMES = [-1, -0.001, NAN, INFINITE, "5", [], True]


@pytest.mark.parametrize("name", [*BAD_NAMES, "{", "a}b"])
def test_a_pool_needs_a_sensible_name(make_pool, name):
    with pytest.raises(ConfigError, match="name of a pool"):
        make_pool(1, name=name)
    with pytest.raises(ConfigError, match="namespace"):
        make_pool(1, namespace=name)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_an_account_needs_a_sensible_name(make_pool, name):
    pool = make_pool(1)
    with pytest.raises(ConfigError, match="name of an account"):
        pool.add_account(Account(name))
    with pytest.raises(ConfigError):
        pool.acquire_account(name)
    with pytest.raises(ConfigError):
        pool.get_account_from_name("a1").set_name(name)
    assert [account.name for account in pool] == ["a1"]
    assert pool.status().free == 1


@pytest.mark.parametrize("owner", ["", "x" * 1025, "a\nb"])
def test_an_owner_needs_a_sensible_name(make_pool, owner):
    pool = make_pool(1)
    with pytest.raises(ConfigError, match="owner"):
        pool.acquire_account(owner=owner)
    with pytest.raises(ConfigError, match="owner"):
        pool.release_accounts(owner)
    assert pool.status().free == 1


@pytest.mark.parametrize("time", BAD_TIMES)
def test_a_timeout_must_be_a_time(make_pool, time):
    pool = make_pool(1)
    with pytest.raises(ConfigError, match="timeout"):
        pool.acquire_account(timeout=time)
    assert pool.status().free == 1


@pytest.mark.parametrize("time", [*BAD_TIMES, 0, 0.049])
def test_a_ttl_must_be_a_time_of_50_ms_or_more(make_pool, time):
    pool = make_pool(1)
    with pytest.raises(ConfigError, match="ttl"):
        pool.acquire_account(ttl=time)
    with pytest.raises(ConfigError, match="ttl"):
        make_pool(1, ttl=time)
    with pool.lease() as account, pytest.raises(ConfigError, match="ttl"):
        account.lease.renew(ttl=time)
    assert pool.status().free == 1


@pytest.mark.parametrize("priority", [1001, -1001, 0.5, "1", None, True])
def test_a_priority_must_be_a_whole_number(make_pool, priority):
    pool = make_pool(1)
    with pytest.raises(ConfigError, match="priority"):
        pool.acquire_account(priority=priority)
    assert pool.status().free == 1


@pytest.mark.parametrize("sessions", [0, -1, 1.5, "2", None, 10_001])
def test_max_sessions_must_be_a_whole_number(sessions):
    with pytest.raises(ConfigError, match="max_sessions"):
        Account("a", max_sessions=sessions)


@pytest.mark.parametrize("password", [7, b"secret"])
def test_a_password_must_be_a_string(make_pool, password):
    with pytest.raises(ConfigError, match="password"):
        Account("a", password)
    pool = make_pool(1)
    with pytest.raises(ConfigError, match="password"):
        pool.get_account_from_name("a1").set_password(password)
    assert pool.get_account_from_name("a1").password == "secret-1"


@pytest.mark.parametrize("digest", [None, 1.5, b"0"])
def test_a_hash_must_be_a_string_or_a_number(make_pool, digest):
    with pytest.raises(ConfigError, match="hash"):
        make_pool(1).get_account_from_hash(digest)


@pytest.mark.parametrize("cipher", ["short", b"", ["x"], [], 7])
def test_a_cipher_must_be_a_fernet_key(make_pool, cipher):
    with pytest.raises(ConfigError, match="cipher"):
        make_pool(1, cipher=cipher)
