"""Account, AccountPool and AccountManager in the place of Exscript's, put to what Exscript's own tests ask of these."""

from __future__ import annotations

import gc
import pickle
import subprocess
from base64 import b64encode
from copy import deepcopy

import pytest

pytest.importorskip("Exscript")

import Exscript.account
from Exscript import Host, PrivateKey

from redispool import ConfigError

# Exscript leaves its files to the garbage collector
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
    pytest.mark.usefixtures("stand_in"),
]


def make(*words, **options):
    return Exscript.account.Account(*words, **options)


def make_pool(*words):
    return Exscript.account.AccountPool(*words)


@pytest.fixture
def manager(stand_in):
    return stand_in.account.AccountManager()


@pytest.fixture
def pool(stand_in):
    return stand_in.account.AccountPool()


# -- Account ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["in no pool", "in a private pool", "in a shared pool"])
def account(request, stand_in):
    account = make("testuser", "test1", "test2", PrivateKey())
    if request.param == "in a private pool":
        request.getfixturevalue("pool").add_account(account)
    elif request.param == "in a shared pool":
        request.getfixturevalue("manager").add_account(account)
    return account


def test_an_account_has_what_it_was_made_with(stand_in):
    key = PrivateKey()
    account = make("testuser", "test1", "test2", key)
    assert account.get_name() == "testuser"
    assert account.get_password() == "test1"
    assert account.get_authorization_password() == "test2"
    assert account.get_key() is key
    assert make("testuser", "test1", key=key).get_authorization_password() == "test1"
    assert make("testuser", key=key).get_password() == ""


def test_an_account_is_a_context_itself(account):
    with account as entered:
        assert entered is account
        entered.release()
        entered.acquire()
    with pytest.raises(Exception, match="not held"):
        account.release()


def test_a_context_is_for_an_account_that_is_acquired_and_nests(account):
    account.acquire()
    with account.context() as context:
        context.release()
        context.acquire()
    account.acquire()
    with account.context() as context:
        with context.context() as inner:
            inner.release()
            inner.acquire()
            assert inner.get_name() == context.get_name() == "testuser"
        context.release()
        context.acquire()
    with pytest.raises(Exception, match="not held"):
        account.release()


def test_an_account_can_be_acquired_and_released_again_and_again(account):
    for _ in range(3):
        account.acquire(account)  # whatever is true
        account.release()
        account.acquire(signal=False)
        account.release(signal=False)


def test_an_account_that_is_not_held_cannot_be_released(account):
    with pytest.raises(Exception, match="not held"):
        account.release()
    account.acquire()
    account.release()
    with pytest.raises(Exception, match="not held"):
        account.release()


def test_an_account_can_be_changed(account):
    changes = []
    account.changed_event.connect(changes.append)
    account.set_name("foo")
    account.set_password("foo1")
    assert (account.get_name(), account.get_password(), account.get_authorization_password()) == (
        "foo",
        "foo1",
        "test2",
    )
    account.set_authorization_password("foo2")
    assert account.get_authorization_password() == "foo2"
    account.set_authorization_password(None)
    assert account.get_authorization_password() == "foo1"
    assert changes == [account] * 4
    account.acquire()
    account.release()


def test_an_accounts_hash_is_a_number_for_a_pipe(account):
    number = account.__hash__()
    assert isinstance(number, int)
    assert pickle.loads(pickle.dumps(number)) == number == hash(deepcopy(account))
    assert -(2**63) <= number < 2**63


@pytest.mark.parametrize(
    ("url", "name", "password", "password2"),
    [
        ("ssh://user:pass@host", "user", "pass", "pass"),
        ("ssh://user:pass:enable@host", "user", "pass", "enable"),
        ("ssh://user@host", "user", None, None),
        ("ssh://:pass@host", "", "pass", "pass"),
    ],
)
def test_a_host_brings_the_account_of_its_url(url, name, password, password2):
    host = Host(url)
    account = host.get_account()
    assert type(account).__module__ == "redispool.account"
    assert account.get_name() == name
    assert account.get_password() == (password or "")
    assert account.get_authorization_password() == (password2 or "")
    assert Host(host.get_uri()).get_account().get_password() == account.get_password()


# -- AccountPool -----------------------------------------------------------------------------------------------------


@pytest.fixture
def two(stand_in):
    return make("testuser1", "test1"), make("testuser2", "test2")


@pytest.fixture
def accounts_from_file(stand_in, tmp_path):
    lines = [f"{name} = {b64encode(b'secret').decode()}" for name in ("abc", "def", "ghi")]
    path = tmp_path / "account_pool.cfg"
    path.write_text("\n".join(["[account-pool]", *lines]))
    return pytest.importorskip("Exscript.util.file").get_accounts_from_file(str(path))


def test_a_pool_counts_its_accounts(pool, two):
    assert pool.n_accounts() == 0
    for number, account in enumerate(two, 1):
        assert not pool.has_account(account)
        pool.add_account(account)
        assert pool.has_account(account)
        assert pool.n_accounts() == number
    pool.reset()
    assert pool.n_accounts() == 0
    assert make_pool().n_accounts() == 0
    assert make_pool(list(two)).n_accounts() == 2
    assert make_pool(two[0]).n_accounts() == 1


def test_a_pool_finds_its_accounts(pool, two):
    pool.add_account(list(two))
    for account in two:
        assert pool.get_account_from_hash(account.__hash__()) is account
        assert pool.get_account_from_name(account.get_name()) is account
    assert pool.get_account_from_hash(make("other").__hash__()) is None
    assert pool.get_account_from_name("other") is None


@pytest.mark.parametrize("rounds", [200])
def test_a_pool_hands_out_a_different_account_each_time(pool, two, accounts_from_file, rounds):
    pool.add_account(two[0])
    pool.add_account(two[1])
    for _ in range(2):
        assert pool.acquire_account(two[0]) == two[0]
        two[0].release()
    pool.add_account(accounts_from_file)
    assert pool.n_accounts() == 5

    for _ in range(rounds):
        acquired = {}
        for _ in range(5):
            account = pool.acquire_account()
            assert account is not None
            assert account.get_name() not in acquired
            acquired[account.get_name()] = account
        acquired["abc"].release()
        account = pool.acquire_account()
        assert account.get_name() == "abc"
        for account in acquired.values():  # Exscript's test lets go of the last one here, too
            account.release()
    assert len(pool.unlocked_accounts) == 5


def test_a_pool_releases_what_an_owner_holds(pool):
    account = make("foo")
    pool.add_account(account)
    pool.acquire_account(account, "one")
    assert account not in pool.unlocked_accounts
    pool.release_accounts("one")
    assert account in pool.unlocked_accounts


def test_a_pool_knows_of_an_account_that_is_acquired_by_itself(pool, two):
    pool.add_account(two)
    two[0].acquire()
    assert two[0] not in pool.unlocked_accounts
    assert pool.acquire_account() == two[1]
    two[0].release()
    assert pool.acquire_account() == two[0]


# -- AccountManager --------------------------------------------------------------------------------------------------


def test_a_manager_begins_empty_and_can_be_emptied(manager):
    assert manager.default_pool.n_accounts() == 0
    manager.add_account(make("user", "test"))
    assert manager.default_pool.n_accounts() == 1
    manager.reset()
    assert manager.default_pool.n_accounts() == 0


def test_a_manager_takes_a_default_pool_and_others(manager):
    manager.add_account(make("user", "test"))
    assert manager.default_pool.n_accounts() == 1
    first, second = make_pool(), make_pool()
    manager.add_pool(first)
    assert manager.default_pool == first
    manager.add_pool(second, lambda host: True)
    assert manager.default_pool == first


def test_a_manager_finds_the_accounts_of_all_its_pools(manager):
    accounts = [make("user1"), make("user2")]
    manager.add_pool(make_pool(accounts[0]))
    manager.add_pool(make_pool(accounts[1]), lambda host: None)
    for account in accounts:
        assert manager.get_account_from_hash(account.__hash__()) == account
    assert manager.get_account_from_hash(make("user3").__hash__()) is None


def test_a_manager_acquires_any_account(manager):
    with pytest.raises(ValueError, match="empty"):
        manager.acquire_account()
    first, second, third = (make(f"user{number}", "test") for number in (1, 2, 3))
    manager.add_account(first)
    assert manager.acquire_account() == first
    first.release()

    manager.add_account(second)
    assert manager.acquire_account(second) == second
    second.release()
    manager.acquire_account().release()

    manager.add_pool(make_pool(third))
    assert manager.acquire_account(second) == second
    second.release()
    assert manager.acquire_account(third) == third
    third.release()
    manager.acquire_account().release()

    alone = make("alone")
    assert manager.acquire_account(alone) is alone
    alone.release()


def test_a_manager_acquires_by_host(manager):
    asked = []

    def match(host):
        asked.append(host)
        return host.get_name() == "foo"

    default, other = make("default-user"), make("user")
    host = Host("foo")
    with pytest.raises(ValueError, match="empty"):
        manager.acquire_account_for(host)
    manager.add_account(default)
    manager.add_pool(make_pool(other), match)
    assert manager.acquire_account_for(host) == other
    assert asked == [host]
    other.release()
    assert manager.acquire_account_for(Host("bar"), "me") == default
    manager.release_accounts("me")
    assert default in manager.default_pool.unlocked_accounts


def test_a_manager_releases_what_an_owner_holds_in_any_pool(manager):
    accounts = [make("foo"), make("bar")]
    pools = [make_pool(accounts[0]), make_pool(accounts[1])]
    manager.add_pool(pools[0])
    manager.add_pool(pools[1], lambda host: True)
    for account, pool in zip(accounts, pools, strict=True):
        manager.acquire_account(account, "one")
        assert account not in pool.unlocked_accounts
    manager.release_accounts("one")
    for account, pool in zip(accounts, pools, strict=True):
        assert account in pool.unlocked_accounts


# -- what Exscript does with its accounts ----------------------------------------------------------------------------


def test_an_account_without_a_name_authorizes_and_can_be_in_no_pool(pool):
    account = make("", "enable")
    account.acquire()
    account.release()
    for attempt in (pool.add_account, pool.acquire_account, pool.has_account):
        with pytest.raises(ConfigError, match="must not be empty"):
            attempt(account)
    assert pool.n_accounts() == 0


def test_a_key_of_exscripts_class_goes_to_the_pool_with_its_account(pool, tmp_path):
    key_file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", key_file], check=True)
    pool.add_account(make("a", key=PrivateKey.from_file(str(key_file))))
    with pool.acquire_account("a") as account:
        assert account.get_key().get_text() == key_file.read_text()
        assert (account.get_key().get_type(), account.get_key().get_filename()) == ("ecdsa", str(key_file))
    with pytest.raises(ConfigError, match="a key must be a PrivateKey, not str"):
        pool.add_account(make("b", key="id_rsa"))
    assert pool.n_accounts() == 1


def test_events_have_what_exscripts_have(account):
    class Listener:
        def __init__(self):
            self.heard = []

        def hear(self, account, *words, **options):
            self.heard.append((account, words, options))

    first, second = Listener(), Listener()
    account.released_event.connect(first.hear, 1, kind="hard")
    account.released_event.listen(second.hear)
    assert account.released_event.n_subscribers() == 2
    assert account.released_event.is_connected(second.hear)
    account.acquire()
    account.release()
    assert first.heard == [(account, (1,), {"kind": "hard"})]
    assert second.heard == [(account, (), {})]
    del second
    gc.collect()
    assert account.released_event.n_subscribers() == 1
    account.released_event.disconnect_all()
    assert not account.released_event.is_connected(first.hear)
    account.released_event.connect(first.hear)
    account.acquire()
    account.release()
    assert first.heard[1:] == [(account, (), {})]
