"""Who is in the pool: adding, changing, removing, looking up."""

from __future__ import annotations

from enum import Enum

import pytest

from redispool import Account, AccountExists, AcquireTimeout, ConfigError, PrivateKey, UnknownAccount
from tests.conftest import wait_until


class Login(str, Enum):  # noqa: UP042 - a StrEnum is printed as what it stands for, this is not
    """Names as many write them down."""

    ADA = "ada-lovelace"
    ALICE = "alice"


def test_a_member_of_an_enumeration_is_the_text_that_it_stands_for(make_pool):
    pool = make_pool([Account(Login.ADA, Login.ALICE), Account(Login.ALICE)])
    for _ in range(2):  # the second time, what is sent is known
        assert pool.has_account(Login.ADA)
        with pool.lease(Login.ALICE, owner=Login.ADA) as account:
            assert (account.name, account.lease.owner) == ("alice", "ada-lovelace")
    pool.remove_account(Login.ADA)
    assert [account.name for account in pool] == ["alice"]


def test_adding_is_idempotent_and_updates_the_credentials(make_pool):
    pool = make_pool(2)
    assert pool.add_account([Account("a1", "new", "second"), Account("a3")]) == 1
    assert pool.n_accounts() == len(pool) == 3
    with pool.lease("a1") as account:
        assert (account.get_password(), account.get_authorization_password()) == ("new", "second")
    handles = [pool.acquire_account(timeout=0) for _ in range(3)]
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    for handle in handles:
        handle.release()


def test_adding_a_held_account_again_gives_no_second_seat(make_pool):
    pool = make_pool(1)
    with pool.lease():
        assert pool.add_account(Account("a1", "new")) == 0
        with pytest.raises(AcquireTimeout):
            pool.acquire_account(timeout=0)
    with pool.lease() as account:
        assert account.password == "new"


def test_a_pool_takes_an_account_or_several(make_pool):
    pool = make_pool(Account("one"))
    pool.add_account(Account(name) for name in ("two", "three"))
    pool.add_account([])
    assert [account.name for account in pool] == ["one", "two", "three"]


def test_what_is_no_account_is_refused_before_anything_changes(make_pool):
    pool = make_pool(1)
    for wrong in ("a2", None, 7, [Account("a2"), "a3"]):
        with pytest.raises(ConfigError):
            pool.add_account(wrong)
    assert [account.name for account in pool] == ["a1"]


def test_progress_is_told_while_many_accounts_are_added(make_pool):
    pool = make_pool()
    told = []
    accounts = [Account(f"n{number}") for number in range(1200)]
    assert pool.add_account(accounts, progress=lambda done, total: told.append((done, total))) == 1200
    assert told[-1] == (1200, 1200)
    assert len(told) > 1


def test_everything_of_an_account_arrives_at_another_host(make_pool):
    key = PrivateKey.restore("ed25519", "/etc/key", "phrase", "the key itself")
    make_pool([Account("full", "one", "two", key, max_sessions=2, labels={"site": "berlin"})])
    with make_pool().lease() as account:
        assert (account.get_name(), account.get_password()) == ("full", "one")
        assert account.get_authorization_password() == "two"
        assert account.get_key().get_type() == "ed25519"
        assert (account.get_key().get_filename(), account.get_key().get_password()) == ("/etc/key", "phrase")
        assert account.needs_lock
        assert account.max_sessions == 2
        assert account.labels == {"site": "berlin"}


@pytest.mark.parametrize(
    "name",
    ["ünï-ço∂é", "名前", "🔑", "a b", "a:b:{c}", "*?[x]", "empty", "mismatch", "granted", "-1", "\u2028", "é" * 256],
)
def test_names_of_any_unicode_are_fine(make_pool, name):
    pool = make_pool([Account(name, f"pass {name}\nsecond line\0\t")])
    assert name in pool
    assert [account.name for account in pool.accounts] == [account.name for account in pool.unlocked_accounts] == [name]
    with pool.lease(name, owner=name) as account:
        assert account.password == f"pass {name}\nsecond line\0\t"
        assert pool.status().leases[0].account == name
        assert pool.status().leases[0].owner == name
    pool.get_account_from_name(name).set_name(name[:100] + "2")
    pool.remove_account(name[:100] + "2")


def test_a_long_password_is_fine(make_pool):
    password = "🔒" * 1024 + "\ud800"
    with make_pool([Account("a", password)]).lease() as account:
        assert account.password == password


def test_a_pools_name_may_be_any_unicode(make_pool, pool_name):
    pool = make_pool(1, name=f"{pool_name} pool: ü*[x]?")
    with pool.lease() as account:
        assert account.name == "a1"
    assert pool.name == f"{pool_name} pool: ü*[x]?"


def test_removing_a_free_account_takes_it_out_of_the_rotation(make_pool):
    pool = make_pool(3)
    pool.remove_account("a2")
    names = []
    for _ in range(4):
        with pool.lease() as account:
            names.append(account.name)
    assert names == ["a1", "a3", "a1", "a3"]
    assert "a2" not in pool


def test_removing_a_held_account_lets_its_holder_finish(make_pool):
    pool = make_pool(2)
    held = pool.acquire_account("a1")
    pool.remove_account(Account("a1"))
    assert "a1" not in pool
    assert pool.status().held == 1
    with pool.lease(timeout=0) as other:
        assert other.name == "a2"
    held.release()
    assert [account.name for account in pool.unlocked_accounts] == ["a2"]


def test_an_account_that_was_removed_and_added_again_is_still_its_holders(make_pool):
    pool = make_pool(1)
    held = pool.acquire_account()
    pool.remove_account("a1")
    make_pool(1)
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    held.release()
    pool.acquire_account(timeout=0).release()


def test_removing_an_unknown_account_removes_nothing(make_pool):
    pool = make_pool(2)
    with pytest.raises(UnknownAccount, match="'zz'"):
        pool.remove_account(["a1", "zz"])
    assert len(pool) == 2


def test_several_accounts_are_removed_at_once(make_pool):
    pool = make_pool(250)
    pool.remove_account([f"a{number}" for number in range(2, 251)])
    assert [account.name for account in pool] == ["a1"]
    for _ in range(3):
        with pool.lease(timeout=0) as account:
            assert account.name == "a1"


def test_a_removed_account_that_is_added_again_is_there_once(make_pool):
    pool = make_pool(3)
    for _ in range(20):
        pool.remove_account(["a1", "a3"])
        make_pool(3)
    handles = [pool.acquire_account(timeout=0) for _ in range(3)]
    assert len({handle.name for handle in handles}) == 3
    for handle in handles:
        handle.release()


def test_reset_removes_everything(make_pool):
    pool = make_pool(700)
    held = pool.acquire_account()
    pool.acquire_account().release(cooldown=60)
    pool.reset()
    status = pool.status()
    assert (status.accounts, status.free, status.held, status.cooling) == (0, 0, 0, 0)
    make_pool(2)
    assert [account.name for account in pool.unlocked_accounts] == ["a1", "a2"]
    del held


def test_a_changed_password_is_seen_at_the_next_acquisition(make_pool):
    here, there = make_pool(1), make_pool()
    here.get_account_from_name("a1").set_password("changed")
    here.get_account_from_name("a1").set_authorization_password("too")
    with there.lease() as account:
        assert (account.get_password(), account.get_authorization_password()) == ("changed", "too")
    here.get_account_from_name("a1").set_authorization_password(None)
    with there.lease() as account:
        assert account.get_authorization_password() == "changed"


def test_a_password_can_be_changed_through_a_held_handle(make_pool):
    pool = make_pool(1)
    with pool.lease() as account:
        account.set_password("rotated")
        assert pool.get_account_from_name("a1").password == "rotated"


def test_two_changes_of_one_account_do_not_undo_each_other(make_pool):
    here, there = make_pool(1), make_pool()
    one, other = here.get_account_from_name("a1"), there.get_account_from_name("a1")
    one.set_password("p1")
    other.set_authorization_password("p2")
    with here.lease() as account:
        assert (account.password, account.authorization_password) == ("p1", "p2")


def test_changing_an_account_that_was_removed_is_refused(make_pool):
    pool, other = make_pool(2), make_pool()
    account = other.get_account_from_name("a1")
    pool.remove_account("a1")
    with pytest.raises(UnknownAccount):
        account.set_password("new")
    assert account.password == "secret-1"


def test_renaming_a_free_account_keeps_its_turn(make_pool):
    pool = make_pool(3)
    account = pool.get_account_from_name("a2")
    account.set_name("b2")
    assert account.name == "b2"
    assert [account.name for account in pool] == ["a1", "b2", "a3"]
    assert [account.name for account in pool.unlocked_accounts] == ["a1", "b2", "a3"]
    assert "a2" not in pool
    assert pool.get_account_from_hash(account.account_hash).name == "b2"
    assert pool.get_account_from_hash(Account("a2").account_hash) is None


def test_renaming_a_held_account_leaves_it_to_its_holder(make_pool):
    pool, other = make_pool(1), make_pool()
    held = pool.acquire_account()
    other.get_account_from_name("a1").set_name("b1")
    assert pool.status().leases[0].account == "b1"
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    held.lease.renew()
    held.release()
    with pool.lease(timeout=0) as account:
        assert account.name == "b1"


def test_a_holder_can_rename_what_it_holds(make_pool):
    pool = make_pool(2)
    with pool.lease() as account:
        account.set_name("b1")
    assert [account.name for account in pool.unlocked_accounts] == ["a2", "b1"]


def test_renaming_a_resting_account_lets_it_rest(make_pool):
    pool = make_pool(1)
    pool.acquire_account().release(cooldown=0.2)
    pool.get_account_from_name("a1").set_name("b1")
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    with pool.lease(timeout=5) as account:
        assert account.name == "b1"


def test_renaming_with_waiters(make_pool, queue_up):
    pool = make_pool(1)
    held = pool.acquire_account()
    for_any, for_one = queue_up(pool), queue_up(pool, "a1")
    pool.get_account_from_name("a1").set_name("b1")
    with pytest.raises(UnknownAccount):
        for_one.result(5)
    for_new_name = queue_up(pool, "b1")
    held.release()
    got = for_any.result(5)
    assert got.name == "b1"
    got.release()
    for_new_name.result(5).release()


def test_renaming_to_a_known_name_is_refused(make_pool):
    pool = make_pool(2)
    account = pool.get_account_from_name("a1")
    with pytest.raises(AccountExists, match="'a2'"):
        account.set_name("a2")
    assert account.name == "a1"
    assert len(pool) == 2


def test_renaming_to_the_name_of_a_removed_account_that_is_still_held_is_refused(make_pool):
    pool = make_pool(2)
    removed, mine = pool.acquire_account("a2"), pool.acquire_account("a1")
    pool.remove_account("a2")
    with pytest.raises(AccountExists):
        mine.set_name("a2")
    removed.release()
    mine.set_name("a2")
    mine.release()
    with pool.lease(timeout=0) as account:
        assert account.name == "a2"


def test_accounts_can_swap_their_names_time_and_again(make_pool):
    pool = make_pool(2)
    for _ in range(5):
        one, two = pool.get_account_from_name("a1"), pool.get_account_from_name("a2")
        pool.acquire_account("a2", timeout=0).release()
        one.set_name("tmp")
        two.set_name("a1")
        one.set_name("a2")
        handles = [pool.acquire_account(timeout=0) for _ in range(2)]
        assert {handle.name for handle in handles} == {"a1", "a2"}
        for handle in handles:
            handle.release()


def test_looking_up_accounts(make_pool):
    pool = make_pool(2)
    account = Account("a1")
    assert pool.has_account(account)
    assert pool.has_account("a1")
    assert account in pool
    assert Account("zz") not in pool
    assert pool.get_account_from_name("a2").password == "secret-2"
    assert pool.get_account_from_name("zz") is None
    assert pool.get_account_from_hash(account.account_hash) == account
    assert pool.get_account_from_hash(hash(account)) == account
    assert pool.get_account_from_hash("0" * 15) is None
    assert pool.get_account_from_hash(12345) is None
    assert [one.name for one in pool] == [one.name for one in pool.accounts] == ["a1", "a2"]


def test_a_pool_without_accounts_is_still_a_pool(make_pool):
    pool = make_pool()
    assert pool
    assert len(pool) == 0
    assert pool.accounts == pool.unlocked_accounts == []


def test_unlocked_accounts_come_in_the_order_in_which_they_will_be_handed_out(make_pool):
    pool = make_pool(5)
    held = pool.acquire_account()
    pool.acquire_account("a3").release()
    expected = [account.name for account in pool.unlocked_accounts]
    assert expected == ["a2", "a4", "a5", "a3"]
    assert [pool.acquire_account(timeout=0, owner="me").name for _ in range(4)] == expected
    assert pool.unlocked_accounts == []
    held.release()
    assert pool.release_accounts("me") == 4


def test_many_accounts_are_listed_whole(make_pool):
    pool = make_pool(2500)
    names = [f"a{number}" for number in range(1, 2501)]
    assert [account.name for account in pool] == names
    assert [account.name for account in pool.unlocked_accounts] == names


def test_pools_of_other_names_or_namespaces_are_other_pools(make_pool, pool_name):
    here = make_pool(1)
    elsewhere = make_pool(1, name=f"{pool_name}-2")
    other_space = make_pool(1, namespace="elsewhere")
    with here.lease(), elsewhere.lease(timeout=0), other_space.lease(timeout=0):
        assert here.status().held == elsewhere.status().held == other_space.status().held == 1
    elsewhere.reset()
    assert (len(here), len(elsewhere), len(other_space)) == (1, 0, 1)


def test_status_tells_what_is_where(make_pool, queue_up):
    pool = make_pool(4)
    one = pool.acquire_account(owner="me")
    pool.acquire_account().release(cooldown=60)
    others = [pool.acquire_account(owner="you", timeout=0) for _ in range(2)]
    waiter = queue_up(pool)
    status = pool.status()
    assert (status.name, status.accounts, status.free, status.held) == (pool.name, 4, 0, 3)
    assert (status.cooling, status.quarantined, status.waiting) == (1, 0, 1)
    assert [(lease.account, lease.owner) for lease in status.leases] == [("a1", "me"), ("a3", "you"), ("a4", "you")]
    assert status.leases[0].token == one.lease.token
    assert 0 <= status.leases[0].age < 60
    wait_until(lambda: pool.status().leases[0].age > status.leases[0].age)
    assert "secret" not in repr(status)
    for handle in (one, *others):
        handle.release()
    waiter.result(5).release()


def test_nothing_tells_a_secret(make_pool):
    pool = make_pool([Account("a1", "hush", "hushhush")])
    with pool.lease() as account:
        shown = [repr(account), str(account), repr(pool), repr(account.lease), repr(pool.status()), repr(pool.accounts)]
        with pytest.raises(AcquireTimeout) as timeout:
            pool.acquire_account(account, timeout=0)
        shown += [str(timeout.value)]
    assert not [text for text in shown if "hush" in text]
