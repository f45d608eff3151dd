"""Connections that lose replies, stall or break: carried on, and never a second account for one request."""

from __future__ import annotations

import random
import threading
import time

import pytest
import redis

from redispool import Account, AcquireTimeout
from redispool.protocol import scripts
from tests import invariants
from tests.behaviour.conftest import check_at_rest
from tests.conftest import wait_until
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.parametrize("server", ["valkey"], indirect=True)  # the kind of server does not matter here


@pytest.fixture
def proxy(server):
    running = Proxy(server)
    yield running
    running.close()


@pytest.fixture
def pools(make_pool, proxy):
    """A pool of two accounts, seen directly and through the proxy; all scripts are known to the server."""
    direct, through = make_pool(2), make_pool(redis=proxy.url, ttl=30)
    with through.lease(), direct.lease(), pytest.raises(AcquireTimeout):
        through.acquire_account(timeout=0.05)
    with through.lease() as account:
        account.lease.renew()
    return direct, through


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "silent"])
@pytest.mark.parametrize("want", [None, "a2"])
def test_a_lost_reply_to_acquire_costs_no_second_account(pools, proxy, client, pool_name, cut, want):
    direct, through = pools
    proxy.lose_reply(scripts.ACQUIRE.sha, cut=cut)
    account = through.acquire_account(want)
    assert proxy.lost == 1
    assert [lease.token for lease in direct.status().leases] == [account.lease.token]
    account.release()
    assert invariants.check(client, "redispool", pool_name).free == 2


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "silent"])
def test_a_lost_reply_to_the_first_command_of_all_is_asked_for_again(make_pool, proxy, cut):
    direct = make_pool(2)
    through = make_pool(None, redis=proxy.url, ttl=30)
    direct.acquire_account(timeout=0).release()  # the server knows the script
    proxy.lose_reply(scripts.ACQUIRE.sha, cut=cut)
    account = through.acquire_account()
    assert proxy.lost == 1
    assert [lease.token for lease in direct.status().leases] == [account.lease.token]
    account.release()


def test_a_lost_reply_to_acquire_without_waiting_is_asked_for_again(pools, proxy):
    direct, through = pools
    proxy.lose_reply(scripts.ACQUIRE.sha, cut=True)
    account = through.acquire_account(timeout=0)
    assert proxy.lost == 1
    assert direct.status().held == 1
    account.release()


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "silent"])
def test_a_lost_reply_to_a_waiters_first_request_keeps_its_one_place(pools, proxy, start, client, pool_name, cut):
    direct, through = pools
    held = [direct.acquire_account() for _ in range(2)]
    proxy.lose_reply(scripts.ACQUIRE.sha, cut=cut)
    waiter = start(through.acquire_account)
    wait_until(lambda: proxy.lost == 1 and direct.status().waiting == 1)
    for handle in held:
        handle.release()
    account = waiter.result(10)
    assert [lease.token for lease in direct.status().leases] == [account.lease.token]
    account.release()
    assert invariants.check(client, "redispool", pool_name).free == 2


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "silent"])
def test_a_grant_that_is_lost_on_its_way_is_told_again(pools, proxy, start, client, pool_name, cut):
    direct, through = pools
    held = [direct.acquire_account() for _ in range(2)]
    proxy.lose_reply("BLPOP", cut=cut)
    waiter = start(through.acquire_account)
    wait_until(lambda: direct.status().waiting == 1)
    wait_until(lambda: client.info("clients")["blocked_clients"])
    for handle in held:
        handle.release()
    account = waiter.result(10)
    assert proxy.lost == 1
    assert [lease.token for lease in direct.status().leases] == [account.lease.token]
    account.release()
    assert invariants.check(client, "redispool", pool_name).free == 2


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "silent"])
@pytest.mark.parametrize("cooldown", [0, 60])
def test_a_lost_reply_to_release_is_no_lost_lease(pools, proxy, cut, cooldown):
    direct, through = pools
    account = through.acquire_account()
    proxy.lose_reply(scripts.RELEASE.sha, cut=cut)
    account.release(cooldown=cooldown)
    assert proxy.lost == 1
    status = direct.status()
    assert (status.held, status.cooling) == (0, 1 if cooldown else 0)


def test_a_lost_reply_to_release_does_not_take_the_account_from_the_next_holder(pools, proxy, start):
    direct, through = pools
    accounts = [through.acquire_account(), direct.acquire_account()]
    waiter = start(direct.acquire_account)
    wait_until(lambda: direct.status().waiting == 1)
    proxy.lose_reply(scripts.RELEASE.sha, cut=False)
    accounts[0].release()
    next_one = waiter.result(5)
    assert next_one.lease.token in {lease.token for lease in direct.status().leases}
    next_one.release()
    accounts[1].release()


def test_a_lost_reply_to_cancel_leaves_nothing_in_the_queue(pools, proxy, client, pool_name):
    direct, through = pools
    held = [direct.acquire_account() for _ in range(2)]
    proxy.lose_reply(scripts.CANCEL.sha, cut=True)
    with pytest.raises(AcquireTimeout):
        through.acquire_account(timeout=0.1)
    assert proxy.lost == 1
    assert direct.status().waiting == 0
    for handle in held:
        handle.release()
    invariants.check(client, "redispool", pool_name)


def test_a_lost_reply_to_renew_is_asked_for_again(pools, proxy):
    _, through = pools
    account = through.acquire_account()
    proxy.lose_reply(scripts.RENEW.sha, cut=True)
    account.lease.renew()
    assert proxy.lost == 1
    assert not account.lease.lost
    account.release()


@pytest.mark.parametrize(
    ("script", "action"),
    [
        (scripts.ADD, lambda pool: pool.add_account(pool.accounts)),
        (scripts.REPLACE, lambda pool: pool.get_account_from_name("a1").set_password("new")),
        (scripts.REPLACE, lambda pool: pool.get_account_from_name("a1").set_name("b1")),
        (scripts.REMOVE, lambda pool: pool.remove_account("a1")),
        (scripts.RESET, lambda pool: pool.reset()),
    ],
    ids=["add", "set_password", "set_name", "remove", "reset"],
)
def test_a_lost_reply_to_a_change_does_not_matter(pools, proxy, client, pool_name, script, action):
    direct, through = pools
    direct.add_account(direct.accounts)
    action(direct)  # so that the server knows the script
    direct.reset()
    direct.add_account([Account("a1"), Account("a2")])
    proxy.lose_reply(script.sha, cut=True)
    action(through)
    assert proxy.lost == 1
    invariants.check(client, "redispool", pool_name)


def test_replies_that_come_too_late_are_carried_on(pools, proxy, client, pool_name):
    direct, through = pools
    proxy.delay = 1.3  # longer than the client waits

    def recover():
        time.sleep(2)
        proxy.delay = 0

    threading.Thread(target=recover, daemon=True).start()
    account = through.acquire_account()
    assert [lease.token for lease in direct.status().leases] == [account.lease.token]
    account.release()
    check_at_rest(client, "redispool", pool_name)


def test_a_waiter_in_a_black_hole_carries_on_when_it_is_out(pools, proxy, start, client, pool_name):
    direct, through = pools
    held = [direct.acquire_account(ttl=60) for _ in range(2)]
    waiter = start(through.acquire_account)
    wait_until(lambda: direct.status().waiting == 1)
    proxy.black_hole = True
    for handle in held:
        handle.release()
    with pytest.raises(TimeoutError):
        waiter.result(1.5)
    proxy.black_hole = False
    account = waiter.result(10)
    assert direct.status().held == 1
    account.release()
    check_at_rest(client, "redispool", pool_name)


def test_an_outage_beyond_a_waiters_deadline_is_the_clients_error(pools, proxy, start):
    _, through = pools
    proxy.down = True
    proxy.cut()
    began = time.monotonic()
    with pytest.raises(redis.ConnectionError):
        through.acquire_account(timeout=0.3)
    assert time.monotonic() - began < 10
    proxy.down = False


def test_an_outage_beyond_patience_is_the_clients_error_and_nothing_is_held(make_pool, proxy):
    direct, through = make_pool(1), make_pool(redis=proxy.url, patience=0.2)
    account = through.acquire_account(ttl=1)
    proxy.down = True
    proxy.cut()
    with pytest.raises(redis.ConnectionError):
        account.release()
    with pytest.raises(redis.ConnectionError):
        through.acquire_account()
    proxy.down = False
    wait_until(lambda: direct.status().held == 0)


def test_an_outage_shorter_than_the_ttl_keeps_the_lease(make_pool, proxy):
    direct, through = make_pool(1), make_pool(redis=proxy.url, ttl=2)
    account = through.acquire_account()
    before = direct.status().leases[0].expires_at
    proxy.outage(1.0)
    wait_until(lambda: direct.status().leases[0].expires_at > before + 1)
    assert not account.lease.lost
    account.release()


def test_an_outage_longer_than_the_ttl_loses_the_lease_and_tells_its_holder(make_pool, proxy):
    direct, through = make_pool(1), make_pool(redis=proxy.url, ttl=0.4)
    account = through.acquire_account()
    lost = []
    account.lease.lost_event.connect(lost.append)
    proxy.outage(0.6)
    wait_until(lambda: lost == [account.lease])
    assert account.lease.lost
    direct.acquire_account(timeout=5).release()


def test_in_a_storm_of_cuts_and_losses_no_account_is_held_twice_or_lost(make_pool, proxy, start, client, pool_name):
    direct = make_pool(3)
    dice = random.Random(7)
    in_use: list[str] = []
    over = threading.Event()

    pools = [make_pool(redis=proxy.url, ttl=5) for _ in range(6)]
    for pool in pools:
        pool.status()  # for the first contact must not fail

    def work(pool):
        while not over.is_set():
            with pool.lease(timeout=60) as account:
                assert account.name not in in_use
                in_use.append(account.name)
                time.sleep(0.001)
                in_use.remove(account.name)

    def storm():
        while not over.wait(dice.uniform(0.005, 0.05)):
            script = dice.choice([scripts.ACQUIRE.sha, scripts.RELEASE.sha, "BLPOP", scripts.CANCEL.sha])
            if dice.random() < 0.2:
                proxy.cut()
            else:
                proxy.lose_reply(script, cut=True)

    workers = [start(work, pool) for pool in pools]
    stormer = start(storm)
    wait_until(lambda: proxy.lost >= 20 or any(one.done() for one in workers), 30)
    over.set()
    for one in (stormer, *workers):
        one.result(60)
    # a request that was cut off may be executed after its repetition: what it got comes back by its TTL
    wait_until(lambda: direct.status().free == 3, 12)
    invariants.check(client, "redispool", pool_name, strict=False)
