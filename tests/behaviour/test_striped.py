"""One logical pool over several: whose turn it is, who waits where, and what is found elsewhere."""

from __future__ import annotations

import time

import pytest

import redispool
from redispool import (
    Account,
    AccountPool,
    AcquireTimeout,
    ConfigError,
    PoolEmpty,
    PoolExhausted,
    UnknownAccount,
    stripe_search,
    stripes,
)
from tests import faces
from tests.conftest import wait_until
from tests.topologies import Cluster

NAMES = [f"a{number}" for number in range(12)]


@pytest.fixture(params=[redispool.StripedPool, faces.StripedPool], ids=["blocking", "asyncio"])
def open_striped(request, server, pool_name):
    """Opens the test's striped pool of three stripes, by default as a worker whose own one is the first."""

    def open_pool(**options):
        return request.param(pool_name, **{"stripes": 3, "home": 0, "redis": server.url, **options})

    return open_pool


@pytest.fixture
def own_stripe(server, pool_name):
    """The first stripe as the pool that it is."""
    return AccountPool(name=f"{pool_name}:1of3", redis=server.url)


@pytest.fixture
def shares(open_striped, server, pool_name):
    """The names in each stripe of a pool that has NAMES."""
    open_striped().add_account([Account(name, "x") for name in NAMES])
    pools = [AccountPool(name=f"{pool_name}:{number}of3", redis=server.url) for number in (1, 2, 3)]
    return [{account.name for account in pool.accounts} for pool in pools]


def take_all(pool):
    return {handle.name: handle for handle in [pool.acquire_account(owner="holder", timeout=0) for _ in NAMES]}


def test_each_account_is_in_the_stripe_that_its_name_says(open_striped, shares):
    assert sorted(name for share in shares for name in share) == sorted(NAMES)
    assert all(shares)
    pool = open_striped()
    assert pool.n_accounts() == 12
    assert pool.add_account([Account("a3", "new"), Account("a4", "x")]) == 0
    assert pool.get_account_from_name("a3").get_password() == "new"
    assert pool.get_account_from_name("elsewhere") is None
    assert pool.has_account("a3")
    assert not pool.has_account("elsewhere")
    for number, share in enumerate(shares):
        assert all(pool.stripe_of(name) is pool.stripes[number] for name in share)


def test_a_worker_draws_from_its_own_stripe_and_moves_on_when_that_is_empty(open_striped, shares):
    pool = open_striped(home=1)
    own = [pool.acquire_account(owner="me") for _ in shares[1]]
    assert {handle.name for handle in own} == shares[1]
    others = [pool.acquire_account(owner="me") for _ in shares[0] | shares[2]]
    assert {handle.name for handle in others} == shares[0] | shares[2]
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    status = pool.status()
    assert (status.name, status.accounts, status.free, status.held, len(status.leases)) == (pool.name, 12, 0, 12, 12)
    for handle in own + others:
        handle.release()
    assert pool.status().free == 12


def test_workers_without_a_stripe_of_their_own_spread_over_all(open_striped, shares):
    drawn = [open_striped(home=None).acquire_account(owner="me", timeout=0) for _ in NAMES]
    assert {handle.name for handle in drawn} == set(NAMES)


def test_who_waits_is_served_at_his_own_stripe(open_striped, shares, start):
    pool = open_striped(home=2)
    held = take_all(pool)
    waiting = start(pool.acquire_account, owner="waiter", timeout=10)
    wait_until(lambda: pool.status().waiting == 1)
    name = min(shares[2])
    held[name].release()
    assert waiting.result(5).name == name


def test_who_waits_finds_what_came_free_at_another_stripe(open_striped, shares, start):
    pool = open_striped()
    held = take_all(pool)
    waiting = start(pool.acquire_account, owner="waiter", timeout=10)
    wait_until(lambda: pool.status().waiting == 1)
    name = min(shares[1])
    held[name].release()
    assert waiting.result(5).name == name
    assert pool.status().waiting == 0


def test_who_looks_around_keeps_his_place_in_line(open_striped, own_stripe, shares, start, monkeypatch):
    monkeypatch.setattr(stripe_search, "LOOK_AROUND", 0.05)
    pool = open_striped()
    held = take_all(pool)
    first = start(pool.acquire_account, owner="first", timeout=20)
    wait_until(lambda: own_stripe.status().waiting == 1)
    second = start(own_stripe.acquire_account, owner="second", timeout=20)
    wait_until(lambda: own_stripe.status().waiting == 2)
    looks, look = [], stripe_search.Search._look
    monkeypatch.setattr(
        stripe_search.Search, "_look", lambda *args, **options: looks.append(1) or look(*args, **options)
    )
    while len(looks) < 20:
        assert [waiter.owner for waiter in own_stripe.waiting()] == ["first", "second"]
    name, other = sorted(shares[0])[:2]
    held[name].release()
    assert first.result(5).name == name
    held[other].release()
    assert second.result(5).name == other


def test_who_waits_looks_at_each_of_the_others_before_any_again(server, pool_name, monkeypatch, start):
    monkeypatch.setattr(stripe_search, "LOOK_AROUND", 0.02)
    pool = redispool.StripedPool(pool_name, stripes=12, home=0, redis=server.url)
    pool.add_account([Account(f"a{number}") for number in range(60)])
    held = [pool.acquire_account(owner="holder", timeout=0) for _ in range(60)]
    looked_at = []
    for stripe in pool.stripes:
        ask = stripe.operations.acquire

        def noting(*args, ask=ask, stripe=stripe):
            looked_at.append(stripe.name)
            return ask(*args)

        monkeypatch.setattr(stripe.operations, "acquire", noting)
    waiting = start(pool.acquire_account, owner="waiter", timeout=20)
    wait_until(lambda: len(looked_at) >= 13 + 22)
    assert looked_at[12] == pool.stripes[0].name  # where he waits
    for round_ in (looked_at[13:24], looked_at[24:35]):
        assert sorted(round_) == sorted(stripe.name for stripe in pool.stripes[1:])
    held.pop().release()
    waiting.result(5)


def test_nobody_looks_around_all_the_time_where_many_wait(server, client, pool_name, start):
    pool = faces.StripedPool(pool_name, stripes=3, redis=server.url)
    pool.add_account([Account(name) for name in NAMES])
    held = take_all(pool)
    waiting = [start(pool.acquire_account, owner="waiter") for _ in range(300)]
    wait_until(lambda: pool.status().waiting == 300)
    before, began = client.info("commandstats")["cmdstat_evalsha"]["calls"], time.monotonic()
    time.sleep(3)
    calls = client.info("commandstats")["cmdstat_evalsha"]["calls"] - before
    assert calls / (time.monotonic() - began) < 300  # less than one a second of each, who would need four
    pool.reset()
    for one in waiting:
        assert isinstance(one.exception(20), PoolEmpty)
    assert len(held) == 12


def test_the_time_to_wait_is_kept(open_striped, shares, monkeypatch):
    monkeypatch.setattr(stripe_search, "LOOK_AROUND", 0.05)
    pool = open_striped()
    held = take_all(pool)
    started = time.monotonic()
    with pytest.raises(AcquireTimeout, match=pool.name):
        pool.acquire_account(timeout=0.3)
    assert time.monotonic() - started >= 0.3
    assert pool.status().waiting == 0
    assert len(held) == 12


def test_a_stripe_without_accounts_keeps_nobody_waiting(open_striped, start):
    pool = open_striped()
    with pytest.raises(PoolEmpty):
        pool.acquire_account(timeout=5)
    name = next(name for name in NAMES if pool.stripe_of(name) is not pool.stripes[0])
    pool.add_account(Account(name, "x"))
    handle = pool.acquire_account(owner="holder", timeout=0)
    assert handle.name == name
    waiting = start(pool.acquire_account, owner="waiter", timeout=10)
    wait_until(lambda: pool.status().waiting == 1)
    handle.release()
    assert waiting.result(5).name == name


def test_who_waits_finds_what_was_added_to_a_stripe_that_had_none(open_striped, start):
    pool = open_striped()
    here, elsewhere = (
        next(name for name in NAMES if (pool.stripe_of(name) is pool.stripes[0]) is own) for own in (True, False)
    )
    pool.add_account(Account(here, "x"))
    held = pool.acquire_account(owner="holder", timeout=0)
    waiting = start(pool.acquire_account, owner="waiter", timeout=10)
    wait_until(lambda: pool.status().waiting == 1)
    pool.add_account(Account(elsewhere, "x"))
    assert waiting.result(9).name == elsewhere
    held.release()


def test_who_waits_where_all_accounts_go_is_told_so_or_served_elsewhere(open_striped, shares, start):
    pool = open_striped()
    held = take_all(pool)
    one, two = (start(pool.acquire_account, owner="waiter", timeout=10) for _ in range(2))
    wait_until(lambda: pool.status().waiting == 2)
    pool.remove_account(shares[0])
    for name in shares[0]:
        held[name].release()
    wait_until(lambda: pool.status().waiting == 2)
    held[min(shares[1])].release()
    wait_until(lambda: one.done() or two.done())
    pool.reset()
    outcomes = [future.exception(5) for future in (one, two)]
    assert sorted(type(outcome) for outcome in outcomes if outcome) == [PoolEmpty]
    assert pool.n_accounts() == 0


def test_a_particular_account_is_waited_for_where_it_is(open_striped, shares):
    pool = open_striped()
    name = min(shares[2])
    with pool.lease(name) as handle:
        assert handle.name == name
        with pytest.raises(AcquireTimeout):
            pool.acquire_account(name, timeout=0)
    with pytest.raises(UnknownAccount):
        pool.acquire_account("elsewhere", timeout=0)


def test_an_error_of_the_block_counts_as_a_failure_where_the_account_is(open_striped):
    pool = open_striped(max_failures=1)
    pool.add_account([Account(name) for name in NAMES])
    with pytest.raises(OSError, match="refused"), pool.lease(bad_on=(OSError,)) as handle:
        raise OSError("refused")
    status = pool.status()
    assert (status.held, status.quarantined) == (0, 1)
    assert [row.account for row in status.quarantine] == [handle.name]


def test_a_pool_whose_accounts_are_all_quarantined_says_so(open_striped, server):
    pool = open_striped()
    pool.add_account(Account("a1", "x"))
    AccountPool(name=pool.stripe_of("a1").name, redis=server.url).quarantine("a1", "banned")
    with pytest.raises(PoolExhausted):
        pool.acquire_account(timeout=5)


def test_an_owner_is_released_in_all_stripes(open_striped, shares):
    pool = open_striped()
    held = [pool.acquire_account(owner="me") for _ in NAMES]
    assert pool.release_accounts("me") == len(held)
    assert pool.status().free == 12


def test_nothing_is_removed_where_one_is_unknown(open_striped, shares):
    pool = open_striped()
    with pytest.raises(UnknownAccount, match="elsewhere"):
        pool.remove_account(["a1", "elsewhere"])
    assert pool.n_accounts() == 12
    pool.remove_account(["a1", Account("a2")])
    pool.remove_account("a3")
    assert pool.n_accounts() == 9


def test_one_that_is_named_twice_is_removed_once(open_striped, shares):
    pool = open_striped()
    pool.remove_account(["a1", "a2", "a1"])
    assert pool.n_accounts() == 10


def test_an_account_stays_in_its_stripe(open_striped, shares, server):
    pool = open_striped()
    elsewhere = next(f"b{number}" for number in range(99) if pool.stripe_of(f"b{number}") is not pool.stripe_of("a1"))
    with pool.lease("a1") as handle:
        with pytest.raises(ConfigError, match="rename"):
            handle.set_name(elsewhere)
        assert handle.name == "a1"
    assert pool.has_account("a1")
    assert not pool.has_account(elsewhere)
    here = next(f"b{number}" for number in range(99) if pool.stripe_of(f"b{number}") is pool.stripe_of("a1"))
    with pool.lease("a1") as handle:
        handle.set_name(here)
    assert pool.has_account(here)
    assert pool.n_accounts() == 12


def test_no_account_is_added_to_a_stripe_that_is_not_its_own(server, pool_name):
    pool = redispool.StripedPool(pool_name, stripes=3, redis=server.url)
    wrong = next(stripe for stripe in pool.stripes if stripe is not pool.stripe_of("a1"))
    with pytest.raises(ConfigError, match=pool.stripe_of("a1").name):
        wrong.add_account([Account("a1")])
    pool.stripe_of("a1").add_account(Account("a1"))
    assert pool.n_accounts() == 1


def test_the_preferred_account_is_looked_for_where_it_is(open_striped, shares):
    pool = open_striped(home=0)
    name = max(shares[2])
    with pool.lease(prefer=name) as handle:
        assert handle.name == name
        with pool.lease(prefer=Account(name)) as other:
            assert other.name != name
    with pool.lease(owner="me", prefer=True) as handle:
        name = handle.name
    for _ in range(3):
        with pool.lease(owner="somebody"):
            pass
    with open_striped(home=1).lease(owner="me", prefer=True) as handle:
        assert handle.name == name


def test_a_stripe_whose_accounts_are_all_excluded_is_passed_over(open_striped, shares, start):
    pool = open_striped()
    mine = pool.acquire_account(exclude=shares[0], timeout=0)
    assert mine.name not in shares[0]
    mine.release()
    held = take_all(pool)
    waiting = start(pool.acquire_account, exclude=shares[0], timeout=10)
    wait_until(lambda: pool.status().waiting == 1)
    name = min(shares[1])
    held[min(shares[0])].release()
    held[name].release()
    assert waiting.result(5).name == name
    with pytest.raises(ConfigError, match="0 is the most"):
        pool.acquire_account(exclude=NAMES)
    with pytest.raises(ConfigError, match="timeout"):
        pool.acquire_account(timeout=-1)
    with pytest.raises(ConfigError, match="ttl"):
        pool.acquire_account(ttl=0)


def test_forked_processes_draw_from_stripes_of_their_own(server, pool_name, monkeypatch):
    pool = redispool.StripedPool(pool_name, stripes=1024, redis=server.url)
    first = set()
    for process in range(1, 9):
        monkeypatch.setattr(stripes.os, "getpid", lambda process=process: process)
        assert pool._stripes._first(None, None) == pool._stripes._first(None, None)
        first.add(pool._stripes._first(None, None))
    assert len(first) > 1


def test_a_pool_of_no_accounts_says_so_of_the_whole(open_striped):
    pool = open_striped()
    with pytest.raises(PoolEmpty, match=f"none of the 3 stripes of pool '{pool.name}'"):
        pool.acquire_account()


def test_an_opened_pool_has_its_rules_in_every_stripe(server, pool_name):
    with faces.StripedPool(pool_name, stripes=3, redis=server.url, max_failures=2) as pool:
        names = [stripe.name for stripe in pool.stripes]
        assert [AccountPool(name=name, redis=server.url).configure() for name in names] == [{"max_failures": 2}] * 3


@pytest.mark.parametrize(
    "options",
    [{"accounts": [Account("a1")]}, {"stripes": 0}, {"stripes": 1025}, {"stripes": "3"}, {"home": 3}, {"home": -1}],
)
def test_a_number_of_stripes_that_makes_no_sense_is_an_error(open_striped, options):
    with pytest.raises(ConfigError):
        open_striped(**options)


def test_who_errs_in_the_number_of_stripes_finds_no_accounts(open_striped, shares):
    with pytest.raises(PoolEmpty):
        open_striped(stripes=4).acquire_account(timeout=5)


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    yield cluster
    cluster.remove()


def test_stripes_are_spread_over_the_primaries_of_a_cluster(cluster, pool_name):
    pool = redispool.StripedPool(pool_name, stripes=12, redis=cluster.url)
    pool.add_account([Account(name) for name in NAMES])
    nodes = {cluster.node_of(f"redispool:{{{stripe.name}}}:meta").port for stripe in pool.stripes}
    assert len(nodes) == 3
    held = take_all(pool)
    assert set(held) == set(NAMES)
    assert pool.release_accounts("holder") == len(NAMES)
