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
    looks = {waiter.token for waiter in own_stripe.waiting()}
    second = start(own_stripe.acquire_account, owner="second", timeout=20)

    def has_looked_around():
        waiting = own_stripe.waiting()
        looks.update(waiter.token for waiter in waiting if waiter.owner == "first")
        return len(looks) > 3 and [waiter.owner for waiter in waiting] == ["first", "second"]

    wait_until(has_looked_around)
    name, other = sorted(shares[0])[:2]
    held[name].release()
    assert first.result(5).name == name
    held[other].release()
    assert second.result(5).name == other


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


@pytest.mark.parametrize("options", [{"stripes": 0}, {"stripes": 1025}, {"stripes": "3"}, {"home": 3}, {"home": -1}])
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
