"""Dramatiq actors with accounts: a real worker, a real broker."""

from __future__ import annotations

import importlib
import os
import signal

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.results import ResultFailure

from redispool import Account, AccountManager, ConfigError
from redispool.integrations.dramatiq import AccountMiddleware
from tests.conftest import wait_until

from .workers import Worker

APP = "tests.integrations.dramatiq_app"
NAMESPACE = "dramatiq-tests"
WAIT = {"block": True, "timeout": 15_000}


@pytest.fixture(scope="module")
def actors(server):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDISPOOL_URL", server.url)
        yield importlib.import_module(APP)


@pytest.fixture(scope="module")
def worker(server, actors):
    words = ["dramatiq", APP, "--processes", "2", "--threads", "2"]
    running = Worker(words, {"REDISPOOL_URL": server.url}, "Worker process is ready for action")
    wait_until(lambda: running.is_ready() and running.text().count(running.ready) == 2, 30)
    yield running
    running.remove()


@pytest.fixture
def manager(server):
    return AccountManager(redis=server.url, namespace=NAMESPACE, ttl=60)


@pytest.fixture
def pool(manager, actors):
    pool = manager.pool("switches")
    pool.reset()
    pool.add_account([Account(f"a{number}", f"secret-{number}") for number in range(1, 4)])
    for name in ("order", "deliveries", "pid", "started"):
        actors.book.delete(f"{NAMESPACE}:{name}")
    return pool


def wait_free(pool):
    wait_until(lambda: pool.status().free == 3, 5)


def test_every_run_has_an_account_and_gives_it_back(actors, worker, pool):
    messages = [actors.work.send(0.02) for _ in range(9)] + [actors.work_async.send()]
    assert {message.get_result(**WAIT) for message in messages} == {"a1", "a2", "a3"}
    wait_free(pool)
    assert {event.owner.partition("[")[0] for event in pool.history() if event.event == "granted"} == {
        "work",
        "work_async",
    }


def test_a_failed_actor_has_released_its_account_and_told_no_secret(actors, worker, pool):
    with pytest.raises(ResultFailure, match="ValueError"):
        actors.fail.send().get_result(**WAIT)
    wait_free(pool)
    assert "secret-" not in worker.text()


def test_a_time_limit_releases_the_account(actors, worker, pool):
    message = actors.limited.send()
    with pytest.raises(ResultFailure, match="TimeLimitExceeded"):
        message.get_result(**WAIT)
    wait_free(pool)


def test_one_who_may_not_wait_so_long_fails(actors, worker, pool):
    held = pool.acquire_accounts(3)
    with pytest.raises(ResultFailure, match="AcquireTimeout"):
        actors.impatient.send().get_result(**WAIT)
    for account in held:
        account.release()


def test_one_that_comes_again_later_keeps_its_place(actors, worker, pool):
    pool.remove_account(["a2", "a3"])
    held = pool.acquire_account()
    messages = []
    for number in range(6):  # there are four threads
        messages.append(actors.patient.send(str(number)))
        wait_until(lambda: pool.status().waiting == len(messages), 10)
    held.release()
    assert {message.get_result(**WAIT) for message in messages} == {"a1"}
    assert actors.book.lrange(f"{NAMESPACE}:order", 0, -1) == ["0", "1", "2", "3", "4", "5"]


def test_one_that_comes_again_later_is_not_judged_by_the_actors_own_retry_when(actors, worker, pool):
    held = pool.acquire_accounts(3)
    message = actors.patient_and_choosy.send_with_options(min_backoff=1, max_backoff=2)
    wait_until(lambda: pool.status().waiting, 10)
    for account in held:
        account.release()
    assert message.get_result(**WAIT)
    wait_free(pool)


def test_the_host_decides_on_the_pool(actors, worker, pool, manager):
    manager.pool("lab").add_account(Account("of-the-lab"))
    manager.add_pool("lab", "lab-*")
    assert actors.visit.send("lab-7").get_result(**WAIT) == "of-the-lab"
    assert actors.visit.send(host="lab-8").get_result(**WAIT) == "of-the-lab"


def test_a_killed_workers_message_gets_a_new_account(server, actors, pool):
    words = ["dramatiq", APP, "--processes", "1", "--threads", "1"]
    first = Worker(words, {"REDISPOOL_URL": server.url}, "ready for action")
    wait_until(first.is_ready, 30)
    message = actors.killed.send()
    pid = int(wait_until(lambda: actors.book.get(f"{NAMESPACE}:pid"), 10))
    os.kill(pid, signal.SIGKILL)
    first.remove()
    second = Worker(words, {"REDISPOOL_URL": server.url}, "ready for action")
    try:
        assert message.get_result(block=True, timeout=30_000) == "a2"
        assert [lease.account for lease in pool.status().leases] == ["a1"]  # until its TTL is over
    finally:
        second.remove()


def test_an_option_that_makes_no_sense_is_refused_when_the_actor_is_declared():
    broker = StubBroker()
    broker.add_middleware(AccountMiddleware())
    with pytest.raises(ConfigError, match="actor 'collect': account_wait must be"):

        @dramatiq.actor(broker=broker, account_pool="switches", account_wait="sleep")
        def collect():
            pass
