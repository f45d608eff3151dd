"""Lost replies of the scripts of the policies: what is sent twice counts once, and says the same."""

from __future__ import annotations

import time

import pytest

from redispool import Account
from redispool.protocol import scripts
from tests import invariants
from tests.conftest import wait_until
from tests.faults.proxy import Proxy

pytestmark = [
    pytest.mark.parametrize("server", ["valkey"], indirect=True),  # the kind of server does not matter here
    pytest.mark.parametrize("cut", [True, False], ids=["cut", "silent"]),
]
EU = {"region": "eu"}


@pytest.fixture
def proxy(server):
    running = Proxy(server)
    yield running
    running.close()


@pytest.fixture
def pools(make_pool, proxy):
    """A pool, seen directly and through the proxy; the server knows all scripts, so that each is sent by its name."""
    accounts = [Account(f"e{number}", labels=EU) for number in range(1, 4)] + [Account("s1", max_sessions=2)]
    direct, through = make_pool(accounts), make_pool(redis=proxy.url, ttl=30)
    for script in (scripts.ACQUIRE, scripts.CHOOSE, scripts.CONFIGURE, scripts.HEALTH, scripts.RESERVE, scripts.REVOKE):
        with direct._wire.client as client:
            client.script_load(script.text)
    through.status()  # only after the first contact an outage is ridden out
    return direct, through


def check(client, pool):
    return invariants.check(client, "redispool", pool.name)


def test_a_failure_counts_once_though_others_report_meanwhile(pools, proxy, cut):
    direct, through = pools
    direct.configure(max_failures=4)
    account = through.get_account_from_name("e1")
    proxy.lose_reply(scripts.HEALTH.sha, cut=cut)
    account.mark_bad("one")
    assert proxy.lost == 1
    direct.get_account_from_name("e1").mark_bad("two")
    proxy.lose_reply(scripts.HEALTH.sha, cut=cut)
    account.mark_bad("three")
    assert direct.status().quarantined == 0
    assert len([event for event in direct.history("e1") if event.event == "bad"]) == 3
    account.mark_bad("four")
    assert direct.status().quarantined == 1


@pytest.mark.parametrize("what", ["quarantine", "restore"])
def test_quarantine_and_restore(pools, proxy, client, cut, what):
    direct, through = pools
    if what == "restore":
        direct.quarantine("s1", "x")
    proxy.lose_reply(scripts.HEALTH.sha, cut=cut)
    getattr(through, what)("s1")
    assert proxy.lost == 1
    assert direct.status().quarantined == (what == "quarantine")
    check(client, direct)


def test_a_reservation_is_one(pools, proxy, client, cut):
    direct, through = pools
    proxy.lose_reply(scripts.RESERVE.sha, cut=cut)
    through.reserve("s1", "alice", time.time() + 60, "note")
    assert proxy.lost == 1
    assert [lease.owner for lease in direct.status().leases] == ["alice", "alice"]
    check(client, direct)
    assert direct.release("s1", "alice") == 2


def test_a_release_by_force_says_what_it_did(pools, proxy, client, cut):
    direct, through = pools
    direct.reserve("s1", "alice", time.time() + 60)
    proxy.lose_reply(scripts.REVOKE.sha, cut=cut)
    assert through.release("s1", force=True) == 2
    assert proxy.lost == 1
    assert check(client, direct).free == 5


def test_what_somebody_else_got_meanwhile_is_not_released_by_force(pools, proxy, start, cut):
    direct, through = pools
    direct.reserve("e1", "alice", time.time() + 60)
    waiter = start(direct.acquire_account, "e1")
    wait_until(lambda: direct.status().waiting == 1)
    proxy.lose_reply(scripts.REVOKE.sha, cut=cut)
    assert through.release("e1", force=True) == 1
    account = waiter.result(5)
    account.lease.renew()
    account.release()


def test_the_first_choice_of_labels(pools, proxy, client, cut):
    direct, through = pools
    proxy.lose_reply(scripts.CHOOSE.sha, cut=cut)
    names = []
    for _ in range(3):
        with through.lease(labels=EU) as account:
            names.append(account.name)
    assert proxy.lost == 1
    assert sorted(names) == ["e1", "e2", "e3"]
    check(client, direct)


def test_rules(pools, proxy, cut):
    direct, through = pools
    proxy.lose_reply(scripts.CONFIGURE.sha, cut=cut)
    assert through.configure(max_failures=3) == direct.status().policy == {"max_failures": 3}
    assert proxy.lost == 1


def test_several_at_once_are_the_same_ones(pools, proxy, client, cut):
    direct, through = pools
    direct.configure(max_rate=1000, max_uses=1, min_interval=1)
    proxy.lose_reply(scripts.ACQUIRE.sha, cut=cut)
    handles = through.acquire_accounts(3)
    assert proxy.lost == 1
    assert {lease.token for lease in direct.status().leases} == {handle.lease.token for handle in handles}
    assert direct.status().quarantined == 3  # each was used once
    for handle in handles:
        handle.release()
    check(client, direct)


def test_something_to_clean_is_the_same(pools, proxy, client, cut):
    direct, through = pools
    direct.configure(cleanup=True)
    for name in ("e1", "e2"):
        direct.acquire_account(name).release()
    proxy.lose_reply(scripts.ACQUIRE.sha, cut=cut)
    cleaner = through.acquire_for_cleanup()
    assert (proxy.lost, direct.status().to_clean, direct.status().held) == (1, 1, 1)
    proxy.lose_reply(scripts.RELEASE.sha, cut=cut)
    cleaner.release()
    assert check(client, direct).free == 4
