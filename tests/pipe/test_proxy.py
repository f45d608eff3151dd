"""Accounts of a manager that is in another process, over a pipe; and of one that is in this."""

from __future__ import annotations

import pytest

from redispool import (
    Account,
    AccountManager,
    AccountProxy,
    AcquireTimeout,
    ConfigError,
    LeaseLost,
    Logger,
    LoggerProxy,
    NotHeld,
    PoolEmpty,
    PrivateKey,
    RedispoolError,
    UnknownAccount,
)
from redispool.account import hash_of_name
from tests.conftest import wait_until

from .conftest import served

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
METHODS = ["fork", "spawn"]


class Host:
    def __init__(self, name: str, account=None) -> None:
        self.name, self.account = name, account

    def get_name(self) -> str:
        return self.name

    def get_address(self) -> str:
        return f"{self.name}.example"

    def get_account(self):
        return self.account


@pytest.fixture(params=["manager", "pipe"])
def parent(request, manager):
    if request.param == "manager":
        yield manager
    else:
        with served(manager) as connection:
            yield connection


# -- what a proxy does, whichever parent it has ----------------------------------------------------------------------


def test_a_proxy_has_the_next_account_in_turn_and_gives_it_back(parent, manager):
    first = AccountProxy.for_random_account(parent)
    second = AccountProxy.for_random_account(parent)
    assert (first.get_name(), first.get_password(), first.get_authorization_password()) == (
        "a1",
        "secret-1",
        "enable-1",
    )
    assert (second.get_name(), second.get_authorization_password(), second.labels) == (
        "a2",
        "secret-2",
        {"region": "eu"},
    )
    assert second.fence > first.fence > 0
    assert manager.default_pool.status().held == 2
    first.release()
    second.release()
    assert manager.default_pool.status().held == 0


@pytest.mark.parametrize("host", ["lab7", Host("lab7")])
def test_a_host_gets_an_account_of_the_pool_that_serves_it(parent, manager, host):
    with AccountProxy.for_host(parent, host).context() as proxy:
        assert proxy.get_name() == "l1"
        with proxy.context() as again:
            assert again.get_password() == "lab-secret"
        assert manager.pool("lab").status().held == 1
    assert manager.pool("lab").status().held == 0
    with AccountProxy.for_host(parent, "router7") as proxy:
        assert proxy.get_name() == "a1"


def test_a_callable_match_sees_the_hosts_name_and_address(parent, manager):
    seen = []
    manager.add_pool(manager.pool("lab"), lambda host: seen.append((host.get_name(), host.get_address())) or False)
    with AccountProxy.for_host(parent, Host("router7")):
        assert seen == [("router7", "router7.example")]


def test_a_hash_names_the_account(parent, manager):
    account = manager.default_pool.get_account_from_name("a2")
    for account_hash in (account.account_hash, hash(account)):
        proxy = AccountProxy.for_account_hash(parent, account_hash)
        assert proxy.get_name() == "a2"
        assert proxy.account_hash == account.account_hash
        assert hash(proxy) == hash(account)
        proxy.release()
    with pytest.raises(UnknownAccount):
        AccountProxy.for_account_hash(parent, hash_of_name("nobody"))


def test_an_own_account_of_a_host_comes_first(parent, manager):
    own = manager.default_pool.get_account_from_name("a2")
    with AccountProxy.for_host(parent, Host("lab7", own)) as proxy:
        assert proxy.get_name() == "a2"
        assert [lease.account for lease in manager.default_pool.status().leases] == ["a2"]
    unknown = Account("mine", "my-secret")
    with AccountProxy.for_host(parent, Host("lab7", unknown)) as proxy:
        assert (proxy.get_name(), proxy.get_password()) == ("mine", "my-secret")
        with pytest.raises(AcquireTimeout):
            AccountProxy.for_host(parent, Host("lab7", unknown), timeout=0.01)


def test_a_proxy_acquires_the_same_account_again(parent, manager):
    proxy = AccountProxy(parent)
    assert (proxy.get_name(), proxy.get_key(), repr(proxy)) == (None, None, "<AccountProxy None>")
    assert proxy.acquire() is True
    with pytest.raises(RedispoolError, match="holds account 'a1' already"):
        proxy.acquire()
    proxy.release()
    with pytest.raises(NotHeld):
        proxy.release()
    with proxy:
        assert proxy.get_name() == "a1"
        assert "secret" not in repr(proxy)


def test_an_account_that_needs_no_lock_is_had_without_one(parent, manager):
    manager.pool("lab").add_account(Account("l1", "open", needs_lock=False))
    proxy = AccountProxy.for_host(parent, "lab1")
    assert proxy.get_password() == "open"
    proxy.release()
    assert proxy.acquire() is False
    other = AccountProxy.for_host(parent, "lab1", timeout=0)
    assert other.get_name() == "l1"
    other.release()
    proxy.release()


def test_a_key_comes_along(parent, manager):
    manager.pool("lab").add_account(Account("l1", key=PrivateKey.restore("ecdsa", "/x/id", "ä pass", "the text")))
    with AccountProxy.for_host(parent, "lab1") as proxy:
        key = proxy.get_key()
        assert (key.get_type(), key.get_filename(), key.get_password(), key.get_text()) == (
            "ecdsa", "/x/id", "ä pass", "the text",
        )  # fmt: skip


def test_what_goes_wrong_is_raised_as_what_it_is(parent, manager):
    with AccountProxy.for_host(parent, "lab1"), pytest.raises(AcquireTimeout, match="did not come free"):
        AccountProxy.for_host(parent, "lab1", timeout=0.05)
    manager.pool("lab").reset()
    with pytest.raises(PoolEmpty, match="pool 'lab' is empty"):
        AccountProxy.for_host(parent, "lab1")
    with pytest.raises(ConfigError, match="a host is a string"):
        AccountProxy.for_host(parent, "")
    with pytest.raises(ConfigError, match="timeout"):
        AccountProxy.for_host(parent, "lab1", timeout="soon")
    with pytest.raises(ConfigError, match="an account's hash"):
        AccountProxy.for_account_hash(parent, None)


@pytest.mark.parametrize("over_pipe", [False, True])
def test_a_lease_that_ended_before_its_release_is_told_to_the_child(server, pool_name, over_pipe):
    manager = AccountManager(redis=server.url, namespace=pool_name, ttl=0.1, auto_renew=False)
    manager.add_account(Account("a1"))
    with served(manager) as connection:
        proxy = AccountProxy.for_random_account(connection if over_pipe else manager)
        wait_until(lambda: manager.default_pool.status().held == 0)
        with pytest.raises(LeaseLost):
            proxy.release()


def test_a_logger_proxy_writes_over_it(parent, manager, server, pool_name):
    proxy = LoggerProxy(parent, 17)
    proxy.add_log(1, "router1", 2)
    proxy.log(1, "ä\x00\udc80" * 100_000)
    proxy.log_aborted(1, ValueError("no route"))
    with pytest.raises(ConfigError, match="job '2' has no log"):
        proxy.log(2, "x")
    (log,) = Logger(17, redis=server.url, namespace=pool_name).get_logs()
    assert (log.name, log.attempt, log.reason, log.text) == ("router1", 2, "no route", "ä\x00\udc80" * 100_000)


@pytest.mark.parametrize("make", [AccountProxy, lambda parent: LoggerProxy(parent, "x")])
def test_another_parent_is_refused(make):
    with pytest.raises(ConfigError, match="parent must be an AccountManager"):
        make("redis://localhost")
