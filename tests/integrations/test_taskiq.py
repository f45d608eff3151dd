"""Taskiq tasks with accounts: a real worker, a real broker."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
from functools import partial

import pytest

from redispool import Account, AccountManager
from tests.conftest import wait_until

from .workers import Worker

APP = "tests.integrations.taskiq_app"
NAMESPACE = "taskiq-tests"


@pytest.fixture(scope="module")
def tasks(server):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDISPOOL_URL", server.url)
        yield importlib.import_module(APP)


def start_worker(server):
    words = ["taskiq", "worker", f"{APP}:broker", "--workers", "1", "--max-async-tasks", "20"]
    running = Worker(words, {"REDISPOOL_URL": server.url}, "Listening started")
    wait_until(running.is_ready, 30)
    return running


@pytest.fixture(scope="module")
def worker(server, tasks):
    running = start_worker(server)
    yield running
    running.remove()


@pytest.fixture
def manager(server):
    return AccountManager(redis=server.url, namespace=NAMESPACE, ttl=60)


@pytest.fixture
def pool(manager, tasks):
    pool = manager.pool("switches")
    pool.reset()
    pool.add_account([Account(f"a{number}", f"secret-{number}") for number in range(1, 4)])
    tasks.book.delete(f"{NAMESPACE}:pid")
    return pool


@pytest.fixture(scope="module")
def run(tasks):
    """Run coroutines in the one event loop that the broker's connections are of."""
    with asyncio.Runner() as runner:
        runner.run(tasks.broker.startup())
        yield runner.run
        runner.run(tasks.broker.shutdown())


@pytest.fixture
def results_of(run):
    """Send tasks all at once, and wait for what became of them."""

    async def send(sends):
        sent = [await one() for one in sends]
        return [await one.wait_result(timeout=20) for one in sent]

    return lambda *sends: run(send(sends))


def wait_free(pool):
    wait_until(lambda: pool.status().free == 3, 5)


def test_every_run_has_an_account_and_gives_it_back(tasks, worker, pool, results_of):
    results = results_of(*[partial(tasks.work.kiq, 0.02)] * 9, tasks.work_in_thread.kiq)
    assert {result.return_value for result in results} == {"a1", "a2", "a3"}
    wait_free(pool)
    assert pool.history()[0].owner.startswith(f"{APP}:")


def test_a_failed_task_has_released_its_account(tasks, worker, pool, results_of):
    (result,) = results_of(tasks.fail.kiq)
    assert "a1" in str(result.error)
    wait_free(pool)


def test_a_time_limit_releases_the_account(tasks, worker, pool, results_of):
    (result,) = results_of(tasks.limited.kiq)
    assert result.is_err
    wait_free(pool)


def test_one_who_may_not_wait_so_long_fails(tasks, worker, pool, results_of):
    held = pool.acquire_accounts(3)
    (result,) = results_of(tasks.impatient.kiq)
    assert "AcquireTimeout" in repr(result.error) or "did not come free" in str(result.error)
    for account in held:
        account.release()


def test_the_host_decides_on_the_pool(tasks, worker, pool, manager, results_of):
    manager.pool("lab").add_account(Account("of-the-lab"))
    manager.add_pool("lab", "lab-*")
    (result,) = results_of(partial(tasks.visit.kiq, "lab-7"))
    assert result.return_value == "of-the-lab"


def test_no_account_gets_into_a_result_and_no_secret_into_a_log(tasks, worker, pool, run, client):
    run(tasks.give_away.kiq())
    wait_until(lambda: "Unable to serialize unknown type: <class 'redispool" in worker.text())
    wait_free(pool)
    assert "secret-" not in worker.text()
    stored = [client.dump(key) for key in client.scan_iter(f"{NAMESPACE}*") if b"{" not in key]
    assert not [one for one in stored if b"secret-" in one]


def test_a_killed_workers_account_comes_back_by_its_ttl(server, tasks, pool, worker, run, results_of):
    run(tasks.long.kiq())
    pid = int(wait_until(lambda: tasks.book.get(f"{NAMESPACE}:pid"), 10))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: worker.text().count(worker.ready) == 2)  # Taskiq starts another one in its place
    (result,) = results_of(partial(tasks.work.kiq, 0.0))
    assert result.return_value == "a2"
    assert [lease.account for lease in pool.status().leases] == ["a1"]
