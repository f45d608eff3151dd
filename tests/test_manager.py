"""Which pool serves which host: in one process, on several hosts, and from one moment to the next."""

from __future__ import annotations

import ipaddress
import re
from types import SimpleNamespace

import pytest
import redis

from redispool import (
    Account,
    AccountManager,
    AccountPool,
    AcquireTimeout,
    ConfigError,
    NotHeld,
    PoolEmpty,
    UnknownAccount,
)

from . import faces
from .managers import fill, serves


@pytest.fixture(params=["blocking", "asyncio"])
def face(request):
    return request.param


@pytest.fixture
def manager_type(face):
    """The class of the test's managers: each face in its turn."""
    return AccountManager if face == "blocking" else faces.Manager


@pytest.fixture
def pool_type(face):
    """The class of the pools that go with them."""
    return AccountPool if face == "blocking" else faces.Pool


# -- the order -----------------------------------------------------------------------------------------------------


def test_without_rules_a_host_gets_an_account_of_the_default_pool(manager):
    assert manager.add_account([Account("u1", "p1"), Account("u2")]) == 2
    account = manager.acquire_account_for("r1", "me")
    assert (account.name, account.password, account.lease.owner) == ("u1", "p1", "me")
    assert manager.default_pool.name == "default"


def test_with_nothing_to_give_the_pool_is_empty(manager):
    manager.add_pool("lab", "lab-*")
    for attempt in (manager.acquire_account, lambda: manager.acquire_account_for("r1")):
        with pytest.raises(PoolEmpty, match="'default'"):
            attempt()
    with pytest.raises(PoolEmpty, match="'lab'"):  # the first match decides
        manager.acquire_account_for("lab-1")


def test_the_seeds_example_routes_as_it_says(server, manager, pool_type):
    host = pytest.importorskip("Exscript").Host

    def use_this_pool(host):
        return host.get_name().startswith("foo")

    default_pool = pool_type(redis=server.url)
    default_pool.add_account(Account("default-user", "password"))
    other_pool = pool_type(redis=server.url)
    other_pool.add_account(Account("user", "password"))
    manager.add_pool(default_pool)
    manager.add_pool(other_pool, use_this_pool)
    assert manager.acquire_account_for(host("localhost")).name == "default-user"
    assert manager.acquire_account_for(host("foobar")).name == "user"
    assert manager.default_pool is default_pool


def test_only_true_is_a_match_of_a_callable_and_the_first_one_wins(manager):
    fill(manager, "default", "first", "second")
    manager.add_pool("first", lambda host: "truthy")
    manager.add_pool("first", lambda host: host == "r1")
    manager.add_pool("second", lambda host: True)
    assert [serves(manager, host) for host in ("r1", "r2")] == ["first", "second"]


def test_what_a_callable_raises_comes_through(manager):
    fill(manager, "default")

    def match(host):
        raise LookupError(host)

    manager.add_pool("default", match)
    with pytest.raises(LookupError, match="r1"):
        manager.acquire_account_for("r1")


def test_one_programs_rules_and_callables_are_tried_in_the_order_in_which_it_added_them(manager):
    fill(manager, "default", "first", "second", "third", "fourth")
    manager.add_pool("first", "a*")
    manager.add_pool("second", lambda host: host[0] in "ab")
    manager.add_pool("third", ["a*", "b*", "c*"])
    manager.add_pool("fourth", lambda host: host[0] in "abcd")
    assert [serves(manager, host) for host in "abcde"] == ["first", "second", "third", "fourth", "default"]


def test_a_programs_first_callable_comes_before_the_rules_of_others(make_manager):
    here, elsewhere = make_manager(), make_manager()
    fill(here, "local", "shared")
    elsewhere.add_pool("shared", "*")
    here.add_pool("local", lambda host: host == "r1")
    assert [serves(here, host) for host in ("r1", "r2")] == ["local", "shared"]
    assert serves(elsewhere, "r1") == "shared"


def test_rules_of_every_kind_route(manager):
    fill(manager, "default", "globs", "regexes", "networks", "mixed")
    manager.add_pool("globs", "lab-*")
    manager.add_pool("regexes", re.compile(r"^r\d+$", re.IGNORECASE))
    manager.add_pool("networks", ipaddress.ip_network("10.0.0.0/8"))
    manager.add_pool("mixed", ["test-*", re.compile("^qa"), ipaddress.ip_network("fd00::/8")])
    hosts = ["LAB-1", "R7", "10.1.2.3", SimpleNamespace(hostname="10.1.2.3"), "test-1", "qa", "fd00::1", "r7x"]
    assert [serves(manager, host) for host in hosts] == [
        "globs", "regexes", "networks", "networks", "mixed", "mixed", "mixed", "default",
    ]  # fmt: skip


def test_a_network_is_matched_by_the_address_that_an_object_brings(manager):
    fill(manager, "default", "lab")
    manager.add_pool("lab", ipaddress.ip_network("10.0.0.0/8"))
    assert serves(manager, SimpleNamespace(get_name=lambda: "r1", get_address=lambda: "10.0.0.1")) == "lab"
    assert serves(manager, SimpleNamespace(name="r1")) == "default"


def test_what_is_no_host_is_refused_before_anything_is_sent(manager_type):
    manager = manager_type(redis="redis://127.0.0.1:1/0")  # nobody listens there
    with pytest.raises(ConfigError, match="a host is a string"):
        manager.acquire_account_for(42)
    with pytest.raises(ConfigError, match="timeout"):
        manager.acquire_account_for("r1", timeout=-1)
    with pytest.raises(redis.ConnectionError):
        manager.acquire_account_for("r1")


# -- a host's own account, and particular ones ---------------------------------------------------------------------


def host_with(account):
    return SimpleNamespace(get_name=lambda: "lab-1", get_account=lambda: account)


def test_a_hosts_own_account_goes_before_every_rule_and_is_locked_in_this_process(manager):
    fill(manager, "lab")
    manager.add_pool("lab", "lab-*")
    own, events = Account("own", "its own"), []
    own.acquired_event.connect(events.append)
    host = host_with(own)
    assert manager.acquire_account_for(host) is own
    assert events == [own]
    with pytest.raises(AcquireTimeout, match="'own'"):
        manager.acquire_account_for(host, timeout=0.01)
    own.release()
    assert manager.acquire_account_for(host, timeout=0) is own
    assert serves(manager, host_with(None)) == "lab"


def test_a_hosts_own_account_that_is_in_a_pool_of_the_manager_is_leased_there(manager):
    fill(manager, "lab")
    with manager.acquire_account_for(host_with(Account("lab-account"))).context() as account:
        assert account.password == "secret", "the pool knows what it is by now"
        assert manager.pool("lab").status().held == 1


def test_a_hosts_own_account_is_found_in_the_pool_that_a_shared_rule_names(make_manager):
    here, elsewhere = make_manager(), make_manager()
    fill(elsewhere, "lab")
    elsewhere.add_pool("lab", "somewhere-*")
    account = here.acquire_account_for(host_with(Account("lab-account")))
    assert account.password == "secret"
    assert [lease.account for lease in elsewhere.pool("lab").status().leases] == ["lab-account"]


def test_an_account_of_exscripts_own_class_is_locked_as_it_locks_itself_where_that_blocks_no_loop(manager, face):
    fill(manager, "default")
    exscript = pytest.importorskip("Exscript")
    host = exscript.Host("ssh://own:password@r1")
    assert isinstance(host.get_account(), exscript.Account)
    if face == "asyncio":
        with pytest.raises(ConfigError, match="would block the event loop"):
            manager.acquire_account_for(host)
        return
    account = manager.acquire_account_for(host)
    assert account is host.get_account()
    assert account.lock.acquire(False) is False
    account.release()


@pytest.mark.parametrize("own", ["a name", object()])
def test_a_hosts_account_that_is_none_is_refused(manager, own):
    with pytest.raises(ConfigError, match="must give an Account or None"):
        manager.acquire_account_for(host_with(own))


def test_a_given_account_is_acquired_from_whichever_pool_has_it(manager, server, pool_type):
    private = pool_type([Account("mine")], redis=server.url)
    fill(manager, "default", "lab")
    manager.add_pool(private, lambda host: False)
    manager.add_pool("lab", "lab-*")
    for name in ("mine", "lab-account", "default-account"):
        for wanted in (name, Account(name)):
            account = manager.acquire_account(wanted, "me", timeout=0)
            assert (account.name, account.lease.owner) == (name, "me")
            account.release()


def test_a_member_is_acquired_from_its_own_pool_also_where_another_has_an_account_of_that_name(
    manager, server, pool_type
):
    first, second = (pool_type(redis=server.url) for _ in range(2))
    member = Account("admin", "of the second")
    first.add_account(Account("admin", "of the first"))
    second.add_account(member)
    manager.add_pool(first, lambda host: True)
    assert manager.acquire_account(member).password == "of the second"
    assert manager.acquire_account(Account("admin")).password == "of the first"


def test_an_account_in_no_pool_is_locked_locally_and_a_name_in_no_pool_is_unknown(manager):
    fill(manager, "default")
    stray = Account("stray")
    assert manager.acquire_account(stray) is stray
    with pytest.raises(AcquireTimeout):
        manager.acquire_account(stray, timeout=0)
    stray.release()
    with pytest.raises(NotHeld):
        stray.release()
    with pytest.raises(UnknownAccount, match="'nobody' is in no pool"):
        manager.acquire_account("nobody")
    unlocked = Account("unlocked", needs_lock=False)
    assert manager.acquire_account(unlocked, timeout=0) is manager.acquire_account(unlocked, timeout=0)


@pytest.mark.parametrize("wanted", ["", 42, b"a", "a\n"])
def test_what_is_no_account_is_refused(manager, wanted):
    with pytest.raises(ConfigError):
        manager.acquire_account(wanted)


def test_an_account_is_found_by_its_hash_in_any_pool(make_manager):
    here, elsewhere = make_manager(), make_manager()
    fill(elsewhere, "default", "lab")
    elsewhere.add_pool("lab", "lab-*")
    for name in ("default-account", "lab-account"):
        account = Account(name)
        assert here.get_account_from_hash(account.account_hash) == account
        assert here.get_account_from_hash(hash(account)).password == "secret"
    assert here.get_account_from_hash(hash(Account("nobody"))) is None


# -- owners --------------------------------------------------------------------------------------------------------


def test_all_that_an_owner_holds_is_released_in_every_pool_from_any_host(make_manager, server, pool_type):
    here, elsewhere = make_manager(), make_manager()
    private = pool_type([Account("mine")], redis=server.url)
    fill(here, "default", "lab", "opened")
    here.add_pool("lab", "lab-*")
    here.add_pool(private, lambda host: host == "private")
    for host in ("r1", "lab-1", "private"):
        here.acquire_account_for(host, "job 7")
    here.pool("opened").acquire_account(None, "job 7")
    assert elsewhere.release_accounts("job 7") == 2, "the default pool, and the one that a shared rule names"
    assert here.release_accounts("job 7") == 2
    assert here.release_accounts("job 7") == 0


# -- removing ------------------------------------------------------------------------------------------------------


def test_a_pool_can_be_removed_with_one_match_or_with_all_of_them(manager):
    fill(manager, "default", "lab")

    def local(host):
        return host == "r1"

    for match in ("a*", "b*", local):
        manager.add_pool("lab", match)
    assert manager.remove_pool("lab", "c*") == 0
    assert manager.remove_pool("lab", "a*") == 1
    assert manager.remove_pool("lab", local) == 1
    assert [serves(manager, host) for host in ("a1", "b1", "r1")] == ["default", "lab", "default"]
    manager.add_pool("lab", local)
    assert manager.remove_pool(manager.pool("lab")) == 2
    assert [serves(manager, host) for host in ("b1", "r1")] == ["default", "default"]
    assert len(manager.pool("lab")) == 1, "its accounts are left alone"


def test_a_pool_removed_as_the_default_gives_its_place_to_the_shared_one(manager):
    fill(manager, "default", "other")
    manager.add_pool("other")
    assert serves(manager, "r1") == "other"
    assert manager.remove_pool("other") == 0
    assert serves(manager, "r1") == "default"


def test_reset_begins_anew_for_every_host_and_spares_the_other_pools(make_manager):
    here, elsewhere = make_manager(), make_manager()
    fill(here, "default", "lab", "local")
    here.add_pool("lab", "lab-*")
    here.add_pool("local", lambda host: True)
    here.add_pool("local")
    here.reset()
    assert here.default_pool.name == "default"
    assert here.default_pool.n_accounts() == 0
    for one in (here, elsewhere):
        assert one.routes() == []
        with pytest.raises(PoolEmpty, match="'default'"):
            one.acquire_account_for("lab-1")
    assert len(here.pool("lab")) == len(here.pool("local")) == 1


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "match",
    [
        42,
        [],
        ["a", 42],
        b"a",
        "",
        "a[",
        "10.0.0.0/8",
        re.compile(b"a"),
        re.compile(r"(a)\1"),
        re.compile("a", re.VERBOSE),
    ],
)
def test_a_match_that_is_none_changes_nothing(manager, match):
    with pytest.raises(ConfigError):
        manager.add_pool("lab", match)
    with pytest.raises(ConfigError):
        manager.remove_pool("lab", match)
    assert manager.routes() == []


def test_a_pool_that_other_hosts_could_not_open_takes_no_rule(manager, server, pool_type):
    with pytest.raises(ConfigError, match="give it a name"):
        manager.add_pool(pool_type(redis=server.url), "lab-*")
    with pytest.raises(ConfigError, match="namespace 'elsewhere'"):
        manager.add_pool(pool_type(name="lab", redis=server.url, namespace="elsewhere"), "lab-*")
    with pytest.raises(ConfigError, match="not int"):
        manager.add_pool(42, "lab-*")
    with pytest.raises(ConfigError, match="must not contain"):
        manager.add_pool("a{b}", "lab-*")
    assert manager.routes() == []


@pytest.mark.parametrize(
    "options", [{"name": "lab"}, {"accounts": []}, {"ttl": 0}, {"namespace": "a{"}, {"redis": "gopher://x"}]
)
def test_a_managers_options_are_checked_at_once(make_manager, options):
    with pytest.raises(ConfigError):
        make_manager(**options)


def test_an_option_that_no_pool_has_is_refused(make_manager):
    with pytest.raises(TypeError, match="colour"):
        make_manager(colour="red")


def test_pools_that_a_manager_opens_have_its_options_and_are_opened_once(make_manager):
    manager = make_manager(ttl=7.5)
    fill(manager, "lab")
    assert manager.pool("lab") is manager.pool("lab")
    account = manager.pool("lab").acquire_account()
    assert account.lease.expires_at - account.lease.acquired_at == pytest.approx(7.5)
