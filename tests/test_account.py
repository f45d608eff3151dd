"""An account by itself: the heritage's object, which knows no Redis."""

from __future__ import annotations

import copy
import gc
import inspect
import os
import pickle
import subprocess
import sys
import threading

import pytest

from redispool import Account, ConfigError, NotHeld, PrivateKey

from .conftest import wait_until


@pytest.fixture
def account():
    return Account("alice", "s3cret", "even-m0re", PrivateKey("rsa"), labels={"site": "vienna"})


# -- the heritage ------------------------------------------------------------------------------------------------


def test_its_arguments_are_the_heritages_in_their_order_and_the_rest_is_keyword_only():
    parameters = inspect.signature(Account).parameters.values()
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == [
        "name", "password", "password2", "key", "needs_lock",
    ]  # fmt: skip
    assert [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] == ["max_sessions", "labels"]
    assert list(inspect.signature(Account.acquire).parameters)[1] == "signal"
    assert list(inspect.signature(Account.release).parameters)[1] == "signal"


def test_its_getters_give_what_its_setters_took(account):
    account.set_name("bob")
    account.set_password("new")
    account.set_authorization_password("newer")
    assert account.get_name() == "bob"
    assert account.get_password() == "new"
    assert account.get_authorization_password() == "newer"
    assert account.get_key().get_type() == "rsa"


@pytest.mark.parametrize("missing", [None, ""])
def test_without_an_authorization_password_the_password_serves(missing):
    assert Account("alice", "s3cret", missing).get_authorization_password() == "s3cret"


def test_an_authorization_password_can_be_taken_away(account):
    account.set_authorization_password(None)
    assert account.get_authorization_password() == "s3cret"


def test_defaults_are_the_heritages():
    account = Account("alice")
    assert (account.get_password(), account.get_authorization_password(), account.get_key()) == ("", "", None)
    assert account.needs_lock


@pytest.mark.parametrize("bad", [None, "", "a\nb", 7])
def test_a_name_that_cannot_be_is_refused_and_the_old_one_stays(account, bad):
    with pytest.raises(ConfigError):
        account.set_name(bad)
    assert account.get_name() == "alice"


def test_a_password_that_cannot_be_is_refused_unquoted(account):
    for setter in (account.set_password, account.set_authorization_password):
        with pytest.raises(ConfigError) as caught:
            setter(b"hunter2")
        assert "hunter2" not in str(caught.value)
    assert account.get_password() == "s3cret"


# -- its lock, in no pool ----------------------------------------------------------------------------------------


def test_in_no_pool_it_is_a_lock_of_this_process(account):
    order = []
    account.acquire()

    def second():
        account.acquire()
        order.append("second")
        account.release()

    thread = threading.Thread(target=second)
    thread.start()
    order.append("first")
    account.release()
    thread.join()
    assert order == ["first", "second"]


def test_one_thread_may_release_what_another_acquired(account):
    thread = threading.Thread(target=account.acquire)
    thread.start()
    thread.join()
    account.release()


def test_releasing_what_is_not_held_is_an_error(account):
    with pytest.raises(NotHeld, match="'alice' is not held"):
        account.release()
    account.acquire()
    account.release()
    with pytest.raises(NotHeld):
        account.release()


def test_an_account_that_needs_no_lock_is_never_locked_nor_signalled():
    account = Account("shared", needs_lock=False)
    seen = []
    account.acquired_event.connect(seen.append)
    account.released_event.connect(seen.append)
    account.acquire()
    account.acquire()
    account.release()
    account.release()
    account.release()
    assert seen == []


def test_a_with_block_locks_and_unlocks(account):
    with account as entered:
        assert entered is account
        with pytest.raises(AssertionError, match="not true"):
            wait_until(lambda: account._lock.acquire(blocking=False), 0.01)
    account.acquire()
    account.release()


def test_context_is_for_an_account_that_is_held_already_and_releases_it(account):
    account.acquire()
    with account.context():
        pass
    with pytest.raises(NotHeld):
        account.release()


def test_context_releases_after_an_error_too(account):
    account.acquire()
    with pytest.raises(RuntimeError), account.context():
        raise RuntimeError
    account.acquire()
    account.release()


# -- its events --------------------------------------------------------------------------------------------------


def test_events_call_with_the_account(account):
    seen = []
    account.acquired_event.connect(lambda one: seen.append(("acquired", one)))
    account.released_event.connect(lambda one: seen.append(("released", one)))
    account.changed_event.connect(lambda one: seen.append(("changed", one)))
    account.acquire()
    account.release()
    account.set_password("new")
    assert seen == [("acquired", account), ("released", account), ("changed", account)]


def test_without_signal_no_event_is_emitted(account):
    seen = []
    account.acquired_event.connect(seen.append)
    account.released_event.connect(seen.append)
    account.acquire(False)
    account.release(signal=False)
    assert seen == []


def test_every_setter_changes_before_it_tells(account):
    seen = []
    account.changed_event.connect(
        lambda one: seen.append((one.get_name(), one.get_password(), one.get_authorization_password()))
    )
    account.set_name("bob")
    account.set_password("p")
    account.set_authorization_password("q")
    assert seen == [("bob", "s3cret", "even-m0re"), ("bob", "p", "even-m0re"), ("bob", "p", "q")]


def test_connect_holds_its_callback(account):
    seen = []
    account.changed_event.connect(lambda _: seen.append(1))
    gc.collect()
    account.set_password("new")
    assert seen == [1]


def test_listen_lets_its_callback_go(account):
    class Listener:
        def __init__(self):
            self.seen = 0

        def hear(self, _):
            self.seen += 1
            heard.append(1)

    heard = []
    listener = Listener()
    account.changed_event.listen(listener.hear)
    gc.collect()
    account.set_password("new")
    assert heard == [1]
    del listener
    gc.collect()
    account.set_password("newer")
    assert heard == [1]


def test_disconnect_ends_either_kind_and_forgives_who_never_connected(account):
    class Listener:
        def hear(self, _):
            seen.append(1)

    seen = []
    listener = Listener()
    for attach in (account.changed_event.connect, account.changed_event.listen):
        attach(listener.hear)
        account.changed_event.disconnect(listener.hear)
    account.changed_event.disconnect(print)
    account.set_password("new")
    assert seen == []


def test_a_callback_connected_twice_is_called_once(account):
    def callback(_):
        seen.append(1)

    seen = []
    account.changed_event.connect(callback)
    account.changed_event.connect(callback)
    account.set_password("new")
    assert seen == [1]


def test_the_events_of_one_account_are_not_anothers(account):
    seen = []
    account.changed_event.connect(seen.append)
    Account("alice").set_password("new")
    assert seen == []


# -- what it is equal to -----------------------------------------------------------------------------------------


def test_accounts_are_equal_by_name_whatever_else_they_have(account):
    assert account == Account("alice")
    assert account != Account("Alice")
    assert account != "alice"
    assert hash(account) == hash(Account("alice"))
    assert {account, Account("alice")} == {account}


def test_its_hash_changes_with_its_name(account):
    before = account.account_hash
    account.set_name("bob")
    assert account.account_hash == Account("bob").account_hash != before


@pytest.mark.parametrize("name", ["a", "名前", "x" * 512, *(f"a{number}" for number in range(200))])
def test_its_hash_fits_in_a_c_long_and_is_the_number_that_account_hash_spells(name):
    account = Account(name)
    assert 0 <= hash(account) < 2**60  # beyond 2**61 - 1, hash() would change it
    assert hash(account) == int(account.account_hash, 16)
    assert isinstance(account.account_hash, str)


def test_hashes_of_many_names_differ():
    assert len({hash(Account(f"user{number}")) for number in range(20_000)}) == 20_000


def test_its_hash_is_the_same_in_another_process_whatever_its_seed():
    program = "from redispool import Account; a = Account('名前'); print(hash(a), a.account_hash)"
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "77")
    }  # fmt: skip
    account = Account("名前")
    assert said == {f"{hash(account)} {account.account_hash}\n"}


# -- copies, and what is shown -----------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_has_everything_but_the_lock_and_the_listeners(account, duplicate):
    account.acquire()
    account.changed_event.connect(lambda _: pytest.fail("the copy was changed, not the original"))
    twin = duplicate(account)
    assert twin == account
    assert twin.get_password() == "s3cret"
    assert twin.get_authorization_password() == "even-m0re"
    assert twin.get_key().get_type() == "rsa"
    assert twin.labels == {"site": "vienna"}
    assert twin.lease is None
    twin.acquire()
    twin.set_password("other")
    assert account.get_password() == "s3cret"


def test_labels_are_the_accounts_own(account):
    labels = {"site": "vienna"}
    account = Account("alice", labels=labels)
    labels["site"] = "graz"
    assert account.labels == {"site": "vienna"}


def test_neither_repr_nor_str_nor_format_shows_a_secret(account):
    for shown in (repr(account), str(account), f"{account}", repr([account]), repr(account.get_key())):
        assert "s3cret" not in shown
        assert "even-m0re" not in shown
    assert "alice" in repr(account)
