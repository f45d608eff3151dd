"""A lease, and the handle of the account that it is for."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace

import pytest

from redispool import Account, LeaseLost, NotHeld
from redispool.lease import Handle

from .conftest import wait_until
from .leasing import Home, new_lease


@pytest.fixture
def home():
    return Home()


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock, in the test's hand."""
    fake = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("redispool.lease.time", SimpleNamespace(monotonic=lambda: fake.now))
    return fake


def new_handle(lease):
    handle = Handle("a1", "s3cret")
    handle._lease = lease
    return handle


# -- the lease ---------------------------------------------------------------------------------------------------


def test_a_lease_tells_who_holds_what_and_for_how_long(home):
    lease = new_lease(home, ttl=60.0)
    assert (lease.owner, lease.account) == ("me", "a1")
    assert lease.expires_at - lease.acquired_at == pytest.approx(60.0)
    assert not lease.lost
    assert repr(lease) == f"<Lease of 'a1' by 'me', fence {lease.fence}, held>"


def test_its_token_is_a_secret_of_the_holder_and_not_shown(home):
    lease = new_lease(home)
    assert lease.token not in repr(lease)


def test_it_is_due_for_renewal_after_a_third_of_its_ttl(home, clock):
    lease = new_lease(home, ttl=60.0, valid_until=1060.0)
    assert lease.renew_at == pytest.approx(1020.0)
    clock.now = 1020.0
    lease.extended(0.0, 1080.0)
    assert (lease.renew_at, lease.valid_until) == (pytest.approx(1040.0), 1080.0)


def test_it_is_lost_from_the_instant_on_at_which_it_may_be_over(home, clock):
    lease = new_lease(home, valid_until=1060.0)
    clock.now = 1059.999
    assert not lease.lost
    clock.now = 1060.0
    assert lease.lost
    assert "lost" in repr(lease)


def test_a_released_lease_is_not_lost_however_late_it_gets(home, clock):
    lease = new_lease(home, valid_until=1060.0)
    lease.released = True
    clock.now = 2000.0
    assert not lease.lost
    lease.mark_lost()
    assert not lease.lost


def test_lost_event_is_emitted_once(home):
    lease = new_lease(home)
    seen = []
    lease.lost_event.connect(seen.append)
    lease.mark_lost()
    lease.mark_lost()
    assert seen == [lease]
    assert lease.lost


@pytest.mark.parametrize(("given", "asked"), [(None, 60.0), (5.0, 5.0)])
def test_renew_asks_its_pool_for_the_ttl_given_or_its_own(home, given, asked):
    assert new_lease(home, ttl=60.0).renew(given) == asked


@pytest.mark.parametrize(("ttl", "limit"), [(60.0, 90.0), (60.0, 60.0), (0.05, 0.2), (5.0, 7.5)])
def test_a_lease_near_its_max_lease_is_not_renewed_without_a_pause(home, clock, ttl, limit):
    """The server cuts what it grants at max_lease: there is ever less to win by renewing."""
    lease = new_lease(home, ttl=ttl, valid_until=1000.0 + ttl)
    renewals = 0
    while lease.renew_at < 1000.0 + limit:
        clock.now = max(clock.now, lease.renew_at)
        lease.extended(0.0, min(clock.now + ttl, 1000.0 + limit))
        renewals += 1
        assert renewals < 40


def test_a_lease_renewed_for_a_shorter_time_is_due_before_that_is_over(home, clock):
    lease = new_lease(home, ttl=60.0, valid_until=1060.0)
    lease.extended(0.0, 1003.0)
    assert 1000.0 < lease.renew_at < 1003.0


# -- the handle --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_of_a_handle_is_the_account_without_the_lease(home, duplicate):
    handle = new_handle(new_lease(home))
    twin = duplicate(handle)
    assert type(twin) is Account
    assert twin == handle
    assert twin.lease is None
    assert twin.get_password() == "s3cret"
    handle.lease.released = True


def test_a_handle_shows_that_it_is_held_but_not_its_token(home):
    handle = new_handle(new_lease(home))
    assert repr(handle) == "<Handle 'a1' held>"
    handle.lease.released = True
    assert repr(handle) == "<Handle 'a1'>"


def test_a_handle_that_is_dropped_warns_and_is_given_back(home):
    lease = new_lease(home)
    handle = new_handle(lease)
    with pytest.warns(ResourceWarning, match="'a1' was dropped without release"):
        del handle
    assert home.abandoned == [lease]


@pytest.mark.parametrize("state", ["released", "anchored"])
def test_a_handle_that_nobody_needs_any_more_is_dropped_in_silence(home, state):
    lease = new_lease(home)
    setattr(lease, state, True)
    handle = new_handle(lease)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del handle
        gc.collect()
    assert home.abandoned == []


def test_a_forked_child_does_not_give_back_its_parents_leases(home):
    handle = new_handle(new_lease(home, pid=os.getpid() + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del handle
        gc.collect()
    assert home.abandoned == []


# -- in a pool ---------------------------------------------------------------------------------------------------


def test_fences_grow_with_every_grant(make_pool):
    pool = make_pool(2)
    fences = []
    for _ in range(4):
        with pool.lease() as account:
            fences.append(account.lease.fence)
    assert fences == sorted(set(fences))


def test_a_lease_never_claims_to_live_longer_than_its_lock(make_pool, client, pool_name):
    pool = make_pool(1, ttl=5.0, auto_renew=False)
    with pool.lease() as account:
        claimed = account.lease.valid_until - time.monotonic()
        left = client.pttl(f"redispool:{{{pool_name}}}:lock:a1")
        assert client.get(f"redispool:{{{pool_name}}}:lock:a1") == account.lease.token.encode()
        assert 4.0 < claimed <= 5.0
        assert (left - 1) / 1000 >= account.lease.valid_until - time.monotonic() - 0.002


def test_renewing_extends_the_lock(make_pool, client, pool_name):
    pool = make_pool(1, ttl=5.0, auto_renew=False)
    with pool.lease() as account:
        before = account.lease.expires_at
        account.lease.renew(50.0)
        assert client.pttl(f"redispool:{{{pool_name}}}:lock:a1") > 49_000
        assert account.lease.expires_at == pytest.approx(before + 45.0, abs=2.0)


def test_a_lease_renewed_for_a_shorter_time_is_kept_up_at_that_pace(make_pool, client, pool_name):
    pool = make_pool(1, ttl=60.0)
    with pool.lease() as account:
        account.lease.renew(0.3)
        first_end = account.lease.expires_at
        wait_until(lambda: account.lease.expires_at > first_end + 0.6)
        assert client.pttl(f"redispool:{{{pool_name}}}:lock:a1") <= 301
        assert not account.lease.lost


def test_a_lease_renewed_for_a_longer_time_is_not_cut_short_by_the_keeper(make_pool, client, pool_name):
    pool = make_pool(1, ttl=0.3)
    with pool.lease() as account:
        account.lease.renew(600.0)
        pool.renew_leases([account.lease])
        assert client.pttl(f"redispool:{{{pool_name}}}:lock:a1") > 590_000


def test_a_lease_that_ran_out_is_lost_to_its_holder(make_pool):
    pool = make_pool(1, ttl=0.1, auto_renew=False)
    account = pool.acquire_account()
    lease = account.lease
    seen = []
    lease.lost_event.connect(seen.append)
    wait_until(lambda: lease.lost)
    with pool.lease(timeout=5):  # somebody else has it
        with pytest.raises(LeaseLost):
            lease.renew()
        assert seen == [lease]
        with pytest.raises(LeaseLost):
            account.release()


def test_a_handle_is_released_once(make_pool):
    pool = make_pool(1)
    account = pool.acquire_account()
    account.release()
    assert account.lease is None
    with pytest.raises(NotHeld):
        account.release()


def test_a_handle_whose_release_told_that_it_was_lost_is_dropped_in_silence(make_pool, recwarn):
    pool = make_pool(0)
    pool.add_account([Account("a1")])
    handle = pool.acquire_account()
    pool.release("a1", force=True)
    with pytest.raises(LeaseLost):
        handle.release()
    del handle
    gc.collect()  # what else it finds is other tests'
    assert not [warning for warning in recwarn.list if "dropped" in str(warning.message)]


def test_a_dropped_handle_goes_back_to_its_pool_at_once(make_pool):
    pool = make_pool(0)
    pool.add_account([Account("a1")])
    account = pool.acquire_account()
    assert account.name == "a1"
    with pytest.warns(ResourceWarning, match="dropped"):
        del account
    pool.acquire_account(timeout=10).release()


def test_a_child_forked_while_an_account_is_held_cannot_release_it_but_the_parent_can(server, pool_name):
    program = f"""
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # fork in a process with threads
warnings.simplefilter("error", ResourceWarning)
from redispool import Account, AccountPool, NotHeld
pool = AccountPool([Account("a1")], name={pool_name!r}, redis={server.url!r})
account = pool.acquire_account()
child = os.fork()
if child == 0:
    try:
        account.release()
    except NotHeld as error:
        print("child:", error, flush=True)
    del account
    os._exit(0)
os.waitpid(child, 0)
assert pool.status().held == 1
account.release()
print("parent: released", flush=True)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "from which this one was forked" in said.stdout
    assert "parent: released" in said.stdout
    assert said.stderr == ""
