"""What a lease is worth: it lives, is renewed, ends, and only its holder can end it."""

from __future__ import annotations

import gc
import time

import pytest

from redispool import LeaseLost, NotHeld
from tests.conftest import wait_until


def test_a_handle_tells_of_its_lease(make_pool):
    pool = make_pool(1)
    with pool.lease(ttl=20, owner="me") as account:
        lease = account.lease
        assert lease.owner == "me"
        assert lease.account == "a1"
        assert 19.9 < lease.expires_at - lease.acquired_at < 20.1
        assert not lease.lost
        assert lease.fence > 0
    assert account.lease is None


def test_fences_grow_with_every_grant(make_pool):
    pool, other = make_pool(2), make_pool()
    fences = []
    for one in (pool, other, pool, other):
        with one.lease() as account:
            fences.append(account.lease.fence)
    assert fences == sorted(set(fences))


def test_fences_go_on_growing_after_a_reset(make_pool):
    pool = make_pool(1)
    with pool.lease() as account:
        before = account.lease.fence
    pool.reset()
    with make_pool(1).lease() as account:
        assert account.lease.fence > before


def test_an_unrenewed_lease_ends_and_the_account_goes_to_the_next(make_pool, queue_up):
    pool = make_pool(1, auto_renew=False)
    late = pool.acquire_account(ttl=0.15)
    waiter = queue_up(pool)
    got = waiter.result(5)
    assert late.lease.lost
    with pytest.raises(LeaseLost):
        late.release()
    assert pool.status().held == 1  # the late one has not released the other's
    got.release()
    assert pool.status().free == 1


def test_an_unrenewed_lease_ends_without_anybody_waiting(make_pool):
    pool = make_pool(1, auto_renew=False)
    late = pool.acquire_account(ttl=0.05)
    wait_until(lambda: late.lease.lost)
    wait_until(lambda: [account.name for account in pool.unlocked_accounts] == ["a1"])
    with pytest.raises(LeaseLost):
        late.release()
    pool.acquire_account(timeout=0).release()


def test_the_lease_block_tells_that_its_lease_was_lost(make_pool):
    pool = make_pool(1, auto_renew=False)
    with pytest.raises(LeaseLost), pool.lease(ttl=0.05) as account:
        wait_until(lambda: account.lease.lost and pool.status().held == 0)


def test_the_lease_block_lets_the_blocks_own_error_pass(make_pool):
    pool = make_pool(1, auto_renew=False)
    with pytest.raises(ZeroDivisionError), pool.lease(ttl=0.05) as account:
        assert wait_until(lambda: account.lease.lost) / 0
    with pytest.raises(ZeroDivisionError), pool.lease():
        assert 1 / 0
    assert pool.status().free == 1


def test_an_account_may_be_released_within_the_lease_block(make_pool):
    pool = make_pool(1)
    with pool.lease() as account:
        account.release()
    assert pool.status().free == 1


def test_a_lease_is_renewed_as_long_as_its_process_lives(make_pool):
    pool = make_pool(1, ttl=0.3)
    with pool.lease() as account:
        first_end = account.lease.expires_at
        wait_until(lambda: account.lease.expires_at > first_end + 0.6)
        assert not account.lease.lost
        assert pool.status().held == 1


def test_a_lease_can_be_renewed_by_hand(make_pool):
    pool = make_pool(1, auto_renew=False)
    with pool.lease(ttl=1) as account:
        account.lease.renew()
        account.lease.renew(ttl=30)
        (row,) = pool.status().leases
        assert row.expires_at == account.lease.expires_at
        assert 29 < row.expires_at - row.acquired_at < 32


def test_a_lease_that_is_over_cannot_be_renewed(make_pool):
    pool = make_pool(1, auto_renew=False)
    account = pool.acquire_account(ttl=0.05)
    lease = account.lease
    wait_until(lambda: lease.lost and pool.status().held == 0)  # the holder's own clock is the more cautious one
    lost = []
    lease.lost_event.connect(lost.append)
    with pytest.raises(LeaseLost):
        lease.renew()
    assert lost == [lease]
    with pytest.raises(LeaseLost):
        account.release()


def test_a_released_lease_cannot_be_renewed(make_pool):
    pool = make_pool(1)
    account = pool.acquire_account()
    lease = account.lease
    account.release()
    with pytest.raises(LeaseLost):
        lease.renew()
    assert pool.status().free == 1


def test_max_lease_ends_a_lease_however_often_it_is_renewed(make_pool):
    pool = make_pool(1, ttl=0.2, max_lease=0.5)
    account = pool.acquire_account()
    lost = []
    account.lease.lost_event.connect(lost.append)
    began = time.monotonic()
    wait_until(lambda: lost)
    assert time.monotonic() - began >= 0.4
    assert account.lease.lost
    wait_until(lambda: pool.status().free == 1)
    with pytest.raises(LeaseLost):
        account.release()


def test_max_lease_bounds_the_first_ttl_too(make_pool):
    pool = make_pool(1, max_lease=5)
    with pool.lease(ttl=50) as account:
        assert account.lease.expires_at - account.lease.acquired_at < 5.1


def test_a_lost_lease_is_told_to_its_holder(make_pool):
    pool, other = make_pool(1, ttl=0.3), make_pool()
    account = pool.acquire_account(owner="victim")
    lost = []
    account.lease.lost_event.connect(lost.append)
    assert other.release_accounts("victim") == 1
    wait_until(lambda: lost == [account.lease])
    assert account.lease.lost
    with pytest.raises(LeaseLost):
        account.release()


@pytest.mark.parametrize(
    "take",
    [
        lambda pool: pool.release_accounts("victim"),
        lambda pool: pool.release("a1", force=True),
        lambda pool: pool.reset(),
    ],
    ids=["by-owner", "by-force", "by-reset"],
)
def test_a_block_whose_account_somebody_took_says_so_long_before_the_next_renewal(make_pool, take):
    pool, other = make_pool(1), make_pool()
    with pytest.raises(LeaseLost), pool.lease(owner="victim") as account:
        take(other)
    assert account.lease.lost


def test_a_late_holder_cannot_release_the_next_ones_lease(make_pool):
    pool = make_pool(1, auto_renew=False)
    late = pool.acquire_account(ttl=0.05)
    with pool.lease(timeout=5, ttl=30):
        with pytest.raises(LeaseLost):
            late.release()
        with pytest.raises(NotHeld):
            late.release()
        assert pool.status().held == 1


def test_each_handle_of_one_account_releases_its_own_lease(make_pool):
    pool = make_pool(1)
    first = pool.acquire_account()
    first.release()
    second = pool.acquire_account()
    assert first is not second
    assert first == second
    with pytest.raises(NotHeld):
        first.release()
    assert second.lease is not None
    assert pool.status().held == 1
    second.release()


def test_a_handle_can_be_released_once(make_pool):
    pool = make_pool(1)
    account = pool.acquire_account()
    account.release()
    with pytest.raises(NotHeld):
        account.release()
    assert pool.status().free == 1


def test_a_ttl_is_given_per_call(make_pool):
    pool = make_pool(2, ttl=50)
    with pool.lease(ttl=5) as short, pool.lease() as long:
        assert short.lease.expires_at - short.lease.acquired_at < 5.5
        assert long.lease.expires_at - long.lease.acquired_at > 49


def test_a_dropped_handle_goes_back_to_its_pool(make_pool):
    pool = make_pool(1)
    pool.remove_account("a1")
    pool.add_account([*make_pool(1).accounts])
    gc.collect()  # who still has the member object could release through it
    with pytest.warns(ResourceWarning, match="dropped without release"):
        pool.acquire_account()
    wait_until(lambda: pool.status().free == 1)
