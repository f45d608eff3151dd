"""Turnaround: a released account goes to a cleaner first, and only then to the others."""

from __future__ import annotations

import time

import pytest

from redispool import Account, AcquireTimeout, ConfigError, NotHeld, PoolEmpty
from tests.conftest import wait_until


@pytest.fixture
def cleaner_waits(start):
    """Lets a thread wait for something to clean; a future of its handle."""

    def stand_in_line(pool, *arguments, **options):
        before = pool.status().waiting
        future = start(pool.acquire_for_cleanup, *arguments, **options)
        wait_until(lambda: pool.status().waiting == before + 1 or future.done())
        assert not future.done(), f"it did not wait: {future}"
        return future

    return stand_in_line


def test_a_released_account_is_cleaned_before_others_get_it(make_pool, queue_up):
    pool = make_pool(1, cleanup=True)
    pool.acquire_account().release()
    assert (pool.status().to_clean, pool.status().free) == (1, 0)
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    user = queue_up(pool)
    dirty = pool.acquire_for_cleanup("cleaner", timeout=0)
    (row,) = pool.status().leases
    assert (dirty.name, row.owner, row.purpose) == ("a1", "cleaner", "cleanup")
    dirty.set_password("rotated")
    assert not user.done()
    dirty.release()
    handle = user.result(5)
    assert handle.get_password() == "rotated"
    handle.release()


def test_a_new_account_is_clean(make_pool):
    pool = make_pool(1, cleanup=True)
    with pytest.raises(AcquireTimeout):
        pool.acquire_for_cleanup(timeout=0)
    with pool.lease(timeout=0):
        pass


def test_cleaners_are_served_in_order_and_get_the_longest_dirty_first(make_pool, cleaner_waits):
    pool = make_pool(3, cleanup=True)
    for handle in [pool.acquire_account(name) for name in ("a2", "a3", "a1")]:
        handle.release()
        time.sleep(0.003)  # the server tells apart what is a millisecond apart
    names = [pool.acquire_for_cleanup(timeout=0) for _ in range(3)]
    assert [handle.name for handle in names] == ["a2", "a3", "a1"]
    for handle in names:
        handle.release()
    handles = [pool.acquire_account() for _ in range(2)]
    first, second = cleaner_waits(pool), cleaner_waits(pool)
    handles[0].release()
    assert first.result(5).name == handles[0].name
    assert not second.done()
    handles[1].release()
    for cleaner in (first, second):
        cleaner.result(5).release()
    assert pool.status().free == 3


def test_a_cleaner_that_dies_gives_it_back_to_the_cleaners(make_pool, cleaner_waits, queue_up):
    pool = make_pool(1, cleanup=True, auto_renew=False)
    pool.acquire_account().release()
    dying = pool.acquire_for_cleanup(ttl=0.2)
    user = queue_up(pool)
    second = cleaner_waits(pool).result(5)
    assert dying.name == second.name
    assert not user.done()
    second.release()
    user.result(5).release()
    assert pool.status().to_clean == 1


def test_a_holder_that_dies_leaves_it_to_the_cleaners(make_pool):
    pool = make_pool(1, cleanup=True, auto_renew=False)
    lost = pool.acquire_account(ttl=0.1)
    wait_until(lambda: pool.status().to_clean == 1)
    pool.acquire_for_cleanup(timeout=0).release()
    assert pool.status().free == 1
    del lost


def test_what_is_taken_from_a_cleaner_by_force_is_still_dirty(make_pool):
    pool = make_pool(1, cleanup=True)
    pool.acquire_account().release()
    cleaner = pool.acquire_for_cleanup("cleaner")
    assert pool.release("a1", "admin", force=True) == 1
    assert (pool.status().to_clean, pool.status().free) == (1, 0)
    del cleaner


def test_a_cleaner_that_gives_up_waiting_gets_nothing(make_pool, cleaner_waits):
    pool = make_pool(1, cleanup=True)
    waiter = cleaner_waits(pool, timeout=0.1)
    with pytest.raises(AcquireTimeout, match="to be cleaned"):
        waiter.result(5)
    pool.acquire_account().release()
    assert pool.status().to_clean == 1


def test_a_dirty_account_that_is_put_out_comes_back_to_the_cleaners(make_pool):
    pool = make_pool(2, cleanup=True)
    held = pool.acquire_account("a2")
    pool.acquire_account("a1").release()
    for name in ("a1", "a2"):
        pool.quarantine(name, "x")
    held.release()
    assert (pool.status().to_clean, pool.status().free) == (0, 0)
    with pytest.raises(AcquireTimeout):
        pool.acquire_for_cleanup(timeout=0)
    for name in ("a1", "a2"):
        pool.restore(name)
    assert (pool.status().to_clean, pool.status().free) == (2, 0)


def test_a_cleaner_can_put_out_what_it_cannot_clean(make_pool):
    pool = make_pool(1, cleanup=True, max_failures=1)
    pool.acquire_account().release()
    cleaner = pool.acquire_for_cleanup()
    cleaner.mark_bad("the password cannot be changed")
    cleaner.release()
    status = pool.status()
    assert (status.quarantined, status.to_clean, status.free) == (1, 0, 0)


def test_the_cooldown_comes_after_the_cleaning(make_pool):
    pool = make_pool(1, cleanup=True, cooldown=0.2)
    pool.acquire_account().release()
    cleaner = pool.acquire_for_cleanup(timeout=0)
    cleaner.release()
    assert pool.status().cooling == 1
    pool.configure(cooldown=None)
    pool.acquire_account(timeout=5).release(cooldown=60)
    pool.acquire_for_cleanup(timeout=0).release()
    assert pool.status().cooling == 1


def test_cleaning_is_no_use_and_not_paced(make_pool):
    pool = make_pool(2, cleanup=True, max_uses=2, max_per_owner=1, max_rate=0.01)
    pool.acquire_account("a1", "me").release()
    for _ in range(3):
        cleaner = pool.acquire_for_cleanup("me", timeout=0)
        pool.release("a1", force=True)  # still dirty
        del cleaner
    assert pool.status().quarantined == 0


def test_a_cleaner_is_not_held_up_by_the_limit_of_its_owner(make_pool, cleaner_waits):
    pool = make_pool(2, cleanup=True, max_per_owner=1)
    held = pool.acquire_account(owner="me")
    other = pool.acquire_account(owner="you")
    cleaner = cleaner_waits(pool, "me")
    other.release()
    cleaner.result(1).release()
    held.release()


def test_the_keys_are_the_same_whatever_is_done_to_a_dirty_account(make_pool):
    pool = make_pool([Account("a1", max_sessions=3)], cleanup=True)
    for handle in [pool.acquire_account() for _ in range(3)]:
        handle.release()
    assert pool.status().to_clean == 3
    pool.get_account_from_name("a1").set_name("b1")
    pool.add_account(Account("b1", labels={"site": "x"}, max_sessions=2))
    handles = [pool.acquire_for_cleanup(timeout=0) for _ in range(2)]
    with pytest.raises(AcquireTimeout):
        pool.acquire_for_cleanup(timeout=0)
    for handle in handles:
        assert handle.name == "b1"
        handle.release()
    assert (pool.status().free, pool.status().to_clean) == (2, 0)
    pool.acquire_account(labels={"site": "x"}).release()
    pool.remove_account("b1")
    assert pool.status().to_clean == 0


def test_accounts_that_are_never_locked_are_never_dirty(make_pool):
    pool = make_pool([Account("f1", needs_lock=False)], cleanup=True)
    for _ in range(2):
        pool.acquire_account(timeout=0).release()
    assert pool.status().to_clean == 0


def test_without_the_rule_what_is_dirty_goes_to_all(make_pool, queue_up):
    pool = make_pool(2, cleanup=True)
    for _ in range(2):
        pool.acquire_account().release()
    waiters = [queue_up(pool), queue_up(pool)]
    pool.configure(cleanup=None)
    for waiter in waiters:
        waiter.result(1).release()
    assert (pool.status().free, pool.status().to_clean) == (2, 0)


def test_reset_sends_cleaners_away(make_pool, cleaner_waits):
    pool = make_pool(1, cleanup=True)
    cleaner = cleaner_waits(pool)
    pool.reset()
    with pytest.raises(PoolEmpty):
        cleaner.result(5)


def test_releasing_twice_cleans_once(make_pool):
    pool = make_pool(1, cleanup=True)
    pool.acquire_account().release()
    cleaner = pool.acquire_for_cleanup()
    cleaner.release()
    with pytest.raises(NotHeld):
        cleaner.release()
    assert pool.status().free == 1


@pytest.mark.parametrize("timeout", [None, 0, 5])
def test_a_pool_without_the_rule_says_so_at_once(make_pool, timeout):
    pool = make_pool(1)
    with pytest.raises(ConfigError, match=r"configure\(cleanup=True\)"):
        pool.acquire_for_cleanup(timeout=timeout)
    assert (pool.status().held, pool.status().waiting) == (0, 0)
    pool.configure(cleanup=True)
    pool.acquire_account().release()
    pool.acquire_for_cleanup(timeout=0).release()


def test_a_cleaner_who_waits_when_the_rule_is_dropped_is_told(make_pool, cleaner_waits):
    pool = make_pool(1, cleanup=True)
    cleaner = cleaner_waits(pool)
    pool.configure(cleanup=None)
    with pytest.raises(ConfigError, match="cleanup"):
        cleaner.result(1)


def test_a_cleaner_whose_block_raises_has_not_cleaned(make_pool):
    pool = make_pool(1, cleanup=True)
    pool.acquire_account().release()
    for in_context in (False, True):
        cleaner = pool.acquire_for_cleanup(timeout=0)
        with pytest.raises(KeyError), cleaner.context() if in_context else cleaner:
            raise KeyError
        assert (pool.status().to_clean, pool.status().free, pool.status().held) == (1, 0, 0)
    with pool.acquire_for_cleanup(timeout=0):
        pass
    assert (pool.status().to_clean, pool.status().free) == (0, 1)
    with pytest.raises(KeyError), pool.acquire_account():  # who only uses it has used it
        raise KeyError
    assert pool.status().to_clean == 1


def test_a_cleaner_who_drops_the_account_has_not_cleaned(make_pool):
    pool = make_pool(1, cleanup=True)
    pool.acquire_account().release()
    dropped = [pool.acquire_for_cleanup(timeout=0)]
    with pytest.warns(ResourceWarning):
        dropped.clear()
    wait_until(lambda: pool.status().held == 0)
    assert (pool.status().to_clean, pool.status().free) == (1, 0)


def test_those_who_wait_in_a_pool_that_is_emptied_are_all_told(make_pool, cleaner_waits, queue_up):
    pool = make_pool([Account("a1", labels={"site": "x"})], cleanup=True)
    held = pool.acquire_account()
    waiters = [cleaner_waits(pool), queue_up(pool), queue_up(pool, labels={"site": "x"}), queue_up(pool, "a1")]
    pool.remove_account("a1")
    for waiter in waiters:
        with pytest.raises(PoolEmpty):
            waiter.result(1)
    held.release()
