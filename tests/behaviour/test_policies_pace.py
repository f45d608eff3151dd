"""max_rate: so many hand-outs a second of the whole pool, evenly paced by the server's clock."""

from __future__ import annotations

import itertools

import pytest

from redispool import Account, AcquireTimeout, ConfigError

RATE = 10.0
PACE = 1 / RATE
ROUNDING = 0.003  # seconds: the scripts' milliseconds
LENIENT = 0.15


def gaps(times):
    return [later - sooner for sooner, later in itertools.pairwise(sorted(times))]


def check_pace(times, pace=PACE):
    """Evenly paced: none sooner than its time, none much later."""
    found = gaps(times)
    print("ms between hand-outs:", [round(gap * 1000) for gap in found])
    assert min(found) >= pace - ROUNDING
    mean = sum(found) / len(found)
    assert mean < pace + LENIENT


def test_a_crowd_of_waiters_gets_its_hand_outs_evenly_paced(make_pool, start):
    pool = make_pool(30, max_rate=RATE)
    crowd = [start(pool.acquire_account, timeout=30) for _ in range(15)]
    handles = [one.result(30) for one in crowd]
    check_pace([handle.lease.acquired_at for handle in handles])
    assert len({handle.name for handle in handles}) == 15
    for handle in handles:
        handle.release()


def test_who_waits_for_the_pace_is_served_in_order(make_pool, queue_up):
    pool = make_pool(10, max_rate=5)
    first = pool.acquire_account()
    waiters = [queue_up(pool) for _ in range(2)]
    late = pool.acquire_account(timeout=10)
    handles = [first, *(waiter.result(10) for waiter in waiters), late]
    fences = [handle.lease.fence for handle in handles]
    assert fences == sorted(fences)
    check_pace([handle.lease.acquired_at for handle in handles], 0.2)
    for handle in handles:
        handle.release()


def test_who_does_not_wait_is_told_that_it_is_too_soon(make_pool):
    pool = make_pool(5, max_rate=1)
    held = pool.acquire_account(timeout=0)
    with pytest.raises(AcquireTimeout):
        pool.acquire_account(timeout=0)
    held.release()
    assert pool.status().free == 5


def test_a_slow_pace_wakes_its_waiter_in_time(make_pool, queue_up):
    pool = make_pool(2, max_rate=1 / 3)
    first = pool.acquire_account()
    second = queue_up(pool).result(10)
    gap = second.lease.acquired_at - first.lease.acquired_at
    print(f"woken {(gap - 3) * 1000:.1f} ms late")
    assert 3 - ROUNDING <= gap < 3 + LENIENT
    first.release()
    second.release()


def test_the_pace_is_one_for_all_kinds_of_waiters(make_pool, start):
    accounts = [Account(f"{site}{n}", labels={"site": site}) for site in "xyz" for n in range(6)]
    pool = make_pool([*accounts, Account("u", needs_lock=False, labels={"site": "u"})], max_rate=RATE)
    pool.acquire_account(labels={"site": "z"}).release()
    crowd = [start(pool.acquire_account, labels={"site": site}, timeout=30) for site in "xyxyxy"]
    crowd += [start(pool.acquire_account, name, timeout=30) for name in ("z0", "z1")]
    crowd += [start(pool.acquire_account, timeout=30, exclude=["z0", "z1"]) for _ in range(3)]
    handles = [one.result(30) for one in crowd]
    times = [event.at for event in pool.history() if event.event == "granted"]
    check_pace(times)
    for handle in handles:
        if handle.needs_lock:
            handle.release()


def test_several_at_once_are_paid_for_afterwards(make_pool):
    pool = make_pool(4, max_rate=RATE)
    several = pool.acquire_accounts(3)
    one = pool.acquire_account(timeout=5)
    assert one.lease.acquired_at - several[0].lease.acquired_at >= 3 * PACE - ROUNDING
    for handle in (*several, one):
        handle.release()


def test_accounts_that_are_never_locked_are_paced_too(make_pool, start):
    pool = make_pool([Account("u1", needs_lock=False), Account("u2", needs_lock=False)], max_rate=RATE)
    before = pool.status().at
    crowd = [start(pool.acquire_account, timeout=30) for _ in range(6)]
    assert {one.result(30).name for one in crowd} == {"u1", "u2"}
    assert pool.status().at - before >= 4 * PACE


def test_accounts_that_come_back_are_handed_on_at_the_pace(make_pool, queue_up):
    pool = make_pool(4)
    held = [pool.acquire_account() for _ in range(4)]
    waiters = [queue_up(pool) for _ in range(4)]
    pool.configure(max_rate=RATE)
    for handle in held:
        handle.release()
    handles = [waiter.result(10) for waiter in waiters]
    check_pace([handle.lease.acquired_at for handle in handles])
    for handle in handles:
        handle.release()


def test_a_new_pace_holds_at_once(make_pool, queue_up):
    pool, other = make_pool(6, max_rate=0.001), make_pool()
    first = pool.acquire_account()
    waiters = [queue_up(pool), queue_up(pool)]
    other.configure(max_rate=RATE)
    handles = [waiter.result(5) for waiter in waiters]
    pool.configure(max_rate=0.001)
    third = queue_up(pool)
    other.configure(max_rate=None)
    handles.append(third.result(5))
    for handle in (first, *handles):
        handle.release()


def test_the_pace_of_a_waiter_that_gave_up_is_not_lost_to_the_others(make_pool, queue_up):
    pool = make_pool(3, max_rate=2)
    first = pool.acquire_account()
    impatient = queue_up(pool, timeout=0.2)
    patient = queue_up(pool)
    with pytest.raises(AcquireTimeout):
        impatient.result(5)
    second = patient.result(5)
    assert second.lease.acquired_at - first.lease.acquired_at < 0.5 + LENIENT
    first.release()
    second.release()


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), "1", True])
def test_a_rate_that_is_none_changes_nothing(make_pool, wrong):
    pool = make_pool(1, max_rate=7)
    with pytest.raises(ConfigError, match="max_rate"):
        pool.configure(max_rate=wrong, cooldown=5)
    assert pool.status().policy == {"max_rate": pytest.approx(7)}
