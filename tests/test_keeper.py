"""The keeper: when it renews, what it does when it cannot, and that it is in nobody's way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import redis

from redispool.keeper import Keeper, Schedule, keeper

from .conftest import wait_until
from .leasing import Home, new_lease


@pytest.fixture
def home():
    return Home()


@pytest.fixture
def own_keeper():
    """A keeper of the test's own; its thread ends with the tests."""
    return Keeper()


# -- the schedule ------------------------------------------------------------------------------------------------


def test_an_empty_schedule_is_never_due():
    assert Schedule().next_due() is None
    assert Schedule().due(1e9) == []


def test_the_first_lease_that_is_due_decides_when(home):
    schedule = Schedule()
    late, soon = new_lease(home, 60.0, valid_until=2000.0), new_lease(home, 60.0, valid_until=1060.0)
    schedule.add(late)
    schedule.add(soon)
    assert schedule.next_due() == soon.renew_at == pytest.approx(1020.0)
    schedule.forget(soon)
    assert schedule.next_due() == late.renew_at
    schedule.forget(soon)


def test_all_leases_of_a_pool_are_renewed_with_the_one_that_is_due_and_other_pools_are_not(home):
    schedule, other = Schedule(), Home()
    due = new_lease(home, 60.0, valid_until=1060.0)
    fresh = new_lease(home, 60.0, valid_until=2000.0)
    elsewhere = new_lease(other, 60.0, valid_until=2000.0)
    for lease in (due, fresh, elsewhere):
        schedule.add(lease)
    assert schedule.due(1019.0) == []
    assert schedule.due(1020.5) == [[due, fresh]]
    assert schedule.due(1990.0) == [[elsewhere]]  # the others not before they were renewed


def test_a_lease_released_elsewhere_drops_out(home):
    schedule = Schedule()
    lease = new_lease(home, 60.0, valid_until=1060.0)
    schedule.add(lease)
    lease.released = True
    assert schedule.due(1050.0) == []
    assert schedule.next_due() is None


@pytest.mark.parametrize(("ttl", "pause"), [(0.05, 0.005), (5.0, 0.5), (60.0, 1.0), (3600.0, 1.0)])
def test_after_a_failure_it_is_tried_again_soon(home, ttl, pause):
    schedule = Schedule()
    lease = new_lease(home, ttl, valid_until=1000.0 + ttl)
    schedule.add(lease)
    schedule.postpone([lease], 1000.0)
    assert schedule.next_due() == pytest.approx(1000.0 + pause)


def test_failures_go_on_being_retried_until_the_lease_is_over(home):
    schedule = Schedule()
    lease = new_lease(home, 60.0, valid_until=1060.0)
    seen = []
    lease.lost_event.connect(seen.append)
    schedule.add(lease)
    tries = 0
    while (now := schedule.next_due()) is not None:
        assert seen == []
        assert now <= 1060.0
        for leases in schedule.due(now):
            schedule.postpone(leases, now)
            tries += 1
    assert now is None
    assert tries >= 40
    assert seen == [lease]
    assert lease.lost


def test_a_lease_that_ends_in_an_outage_is_lost_without_asking_for_the_others_once_more(home):
    schedule = Schedule()
    leases = [new_lease(home, 60.0, valid_until=1060.0 + number / 10) for number in range(5)]
    told = []
    for lease in leases:
        lease.lost_event.connect(told.append)
        schedule.add(lease)
    schedule.postpone(leases, 1059.5)
    for number, lease in enumerate(leases):
        assert schedule.next_due() == lease.valid_until
        assert schedule.due(lease.valid_until) == []
        assert told == leases[: number + 1]
    assert schedule.next_due() is None


def test_only_those_that_are_over_are_lost(home):
    schedule = Schedule()
    over, alive = new_lease(home, 60.0, valid_until=1060.0), new_lease(home, 60.0, valid_until=1100.0)
    schedule.add(over)
    schedule.add(alive)
    schedule.postpone([over, alive], 1061.0)
    assert schedule.next_due() == pytest.approx(1062.0)
    schedule.postpone([over, alive], 1062.0)


def test_a_lease_that_is_just_being_given_back_is_not_reported_as_lost(home):
    """The release overtook the renewal: the server knows the token no more, and that is as it should be."""
    schedule = Schedule()
    lease = new_lease(home)
    seen = []
    lease.lost_event.connect(seen.append)
    schedule.add(lease)
    with schedule.renewal([lease]) as lost:
        schedule.forget(lease)  # by the thread that releases it
        lost.append(lease)
    assert seen == []
    assert not lease.lost


@pytest.mark.parametrize("error", [RuntimeError("callback"), SystemExit(3)])
def test_a_callback_that_raises_does_not_stop_the_keeper(home, caplog, error):
    def callback(_):
        raise error

    schedule = Schedule()
    leases = [new_lease(home), new_lease(home)]
    for lease in leases:
        lease.lost_event.connect(callback)
        schedule.add(lease)
        schedule.lose(lease)
    assert all(lease.lost for lease in leases)
    assert caplog.text.count("a callback of lost_event failed") == 2


# -- the thread --------------------------------------------------------------------------------------------------


def test_a_lease_is_renewed_for_as_long_as_it_is_watched(own_keeper, home):
    lease = new_lease(home, 0.06)
    own_keeper.watch(lease)
    wait_until(lambda: len(home.renewals) >= 5)
    assert not lease.lost
    own_keeper.forget(lease)
    wait_until(lambda: lease.lost)


def test_a_lease_that_is_due_sooner_wakes_the_keeper(own_keeper, home):
    own_keeper.watch(new_lease(home, 3600.0))
    soon = new_lease(home, 0.06)
    own_keeper.watch(soon)
    wait_until(lambda: any(soon in leases for leases in home.renewals))
    own_keeper.forget(soon)


def test_one_thread_serves_all(own_keeper, home):
    before = threading.active_count()
    threads = [threading.Thread(target=own_keeper.watch, args=(new_lease(home, 3600.0),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert threading.active_count() == before + 1
    assert next(thread for thread in threading.enumerate() if thread is own_keeper._thread).daemon


def test_ctrl_c_as_the_signals_are_blocked_leaves_none_blocked(own_keeper, home, monkeypatch):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    real = signal.pthread_sigmask

    def interrupted(how, signals):
        mask = real(how, signals)
        if how == signal.SIG_BLOCK and signals:
            raise KeyboardInterrupt
        return mask

    monkeypatch.setattr(signal, "pthread_sigmask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        own_keeper.watch(new_lease(home))
    assert real(signal.SIG_BLOCK, ()) == before


def test_ctrl_c_while_the_keeper_starts_leaves_one_keeper(own_keeper, home, monkeypatch):
    real = threading.Thread.start

    def interrupted(thread):
        real(thread)
        signal.raise_signal(signal.SIGINT)  # it is blocked, and comes once it is not

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            own_keeper.watch(new_lease(home))
    before = threading.active_count()
    own_keeper.watch(new_lease(home))
    assert threading.active_count() == before


def test_a_lease_that_the_server_says_is_over_is_lost_once(own_keeper, home):
    lost, kept = new_lease(home, 0.06), new_lease(home, 0.06)
    seen = []
    lost.lost_event.connect(seen.append)
    kept.lost_event.connect(seen.append)
    home.over.add(lost)
    own_keeper.watch(lost)
    own_keeper.watch(kept)
    wait_until(lambda: len(home.renewals) >= 5)
    assert seen == [lost]
    assert sum(lost in leases for leases in home.renewals) == 1
    own_keeper.forget(kept)


def test_an_outage_shorter_than_the_lease_costs_nothing(own_keeper, home, caplog):
    home.error = redis.ConnectionError("gone")
    lease = new_lease(home, 30.0)
    lease.renew_at = time.monotonic()
    own_keeper.watch(lease)
    wait_until(lambda: len(home.renewals) >= 2)
    home.error = None
    wait_until(lambda: lease.renew_at > time.monotonic() + 5)
    assert not lease.lost
    assert "could not renew 1 leases, trying again: gone" in caplog.text
    own_keeper.forget(lease)


def test_an_outage_longer_than_the_lease_loses_it_at_its_end_and_not_before(own_keeper, home):
    home.error = redis.ConnectionError("gone")
    lease = new_lease(home, 0.3)
    lost_at = []
    lease.lost_event.connect(lambda _: lost_at.append(time.monotonic()))
    own_keeper.watch(lease)
    wait_until(lambda: lost_at)
    assert lost_at[0] >= lease.valid_until
    assert len(home.renewals) >= 3
    assert own_keeper.next_due() is None
    assert len(lost_at) == 1


def test_a_pool_that_fails_does_not_harm_the_leases_of_another(own_keeper, home):
    broken = Home()
    broken.error = RuntimeError("a bug, not even an outage")
    own_keeper.watch(new_lease(broken, 0.3))
    lease = new_lease(home, 0.06)
    own_keeper.watch(lease)
    wait_until(lambda: len(broken.renewals) >= 2 and len(home.renewals) >= 5)
    assert not lease.lost
    own_keeper.forget(lease)


def test_an_abandoned_lease_is_given_back_and_renewed_no_more(own_keeper, home):
    own_keeper.watch(new_lease(home, 3600.0))
    lease = new_lease(home, 3600.0)
    own_keeper.watch(lease)
    own_keeper.abandon(lease)
    wait_until(lambda: home.given_back == [lease])


def test_a_lease_that_cannot_be_given_back_does_not_stop_the_keeper(own_keeper, home, caplog):
    broken = Home()
    broken.error = redis.ConnectionError("gone")
    kept = new_lease(home, 0.06)
    own_keeper.watch(kept)
    own_keeper.abandon(new_lease(broken, 3600.0))
    wait_until(lambda: "could not give back" in caplog.text)
    rounds = len(home.renewals)
    wait_until(lambda: len(home.renewals) > rounds)
    own_keeper.forget(kept)


# -- the process -------------------------------------------------------------------------------------------------


def run_program(text: str) -> str:
    """Run a program that can import the tests; what it prints. It must end by itself."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", text],
        cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_keeper_never_keeps_the_interpreter_alive():
    said = run_program("""
from redispool.keeper import keeper
from tests.leasing import Home, new_lease
keeper().watch(new_lease(Home(), 3600.0))
keeper().watch(new_lease(Home(), 0.05))
print("the end", flush=True)
""")
    assert said == "the end\n"


def test_a_forked_child_has_a_keeper_of_its_own_that_knows_none_of_its_parents_leases():
    said = run_program("""
import os
from redispool.keeper import keeper
from tests.conftest import wait_until
from tests.leasing import Home, new_lease
parents, home = keeper(), Home()
parents.watch(new_lease(home, 0.09))
wait_until(lambda: home.renewals)
child = os.fork()
if child == 0:
    assert keeper() is not parents
    assert keeper().next_due() is None
    before, own = len(home.renewals), Home()
    keeper().watch(new_lease(own, 0.09))
    wait_until(lambda: len(own.renewals) >= 3)
    assert len(home.renewals) == before, "the parent's leases are the parent's to renew"
    print("child renews its own", flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
rounds = len(home.renewals)
wait_until(lambda: len(home.renewals) > rounds)
print("parent goes on", flush=True)
""")
    assert said == "child renews its own\nparent goes on\n"


def test_there_is_one_keeper_a_process():
    assert keeper() is keeper()
    assert isinstance(keeper(), Keeper)
    assert os.getpid() > 0


# -- with a real pool --------------------------------------------------------------------------------------------


def test_a_held_account_outlives_its_ttl_many_times_over(make_pool, client, pool_name):
    pool = make_pool(1, ttl=0.3)
    with pool.lease() as account:
        first_end = account.lease.expires_at
        wait_until(lambda: account.lease.expires_at > first_end + 0.9)
        assert client.get(f"redispool:{{{pool_name}}}:lock:a1") == account.lease.token.encode()


def test_a_lease_is_not_renewed_beyond_max_lease_and_its_holder_is_told(make_pool):
    pool = make_pool(1, ttl=0.3, max_lease=0.7)
    account = pool.acquire_account()
    lease, seen = account.lease, []
    lease.lost_event.connect(seen.append)
    wait_until(lambda: seen)
    assert lease.expires_at - lease.acquired_at == pytest.approx(0.7, abs=0.01)
    pool.acquire_account(timeout=5).release()


def test_a_lock_that_somebody_deleted_is_noticed(make_pool, client, pool_name):
    pool = make_pool(1, ttl=0.3)
    account = pool.acquire_account()
    lease, seen = account.lease, []
    lease.lost_event.connect(seen.append)
    client.delete(f"redispool:{{{pool_name}}}:lock:a1")
    wait_until(lambda: seen == [lease])
