"""RQ jobs with accounts: a real worker."""

from __future__ import annotations

import importlib
import os
import signal

import pytest
import rq
from rq.command import send_stop_job_command

from redispool import Account, AccountManager
from tests.conftest import wait_until

from .workers import Worker

JOBS = "tests.integrations.rq_jobs"
NAMESPACE = "rq-tests"


@pytest.fixture(scope="module")
def jobs(server):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDISPOOL_URL", server.url)
        yield importlib.import_module(JOBS)


@pytest.fixture(scope="module")
def queue(server):
    with server.client() as client:
        yield rq.Queue(NAMESPACE, connection=client)


@pytest.fixture(scope="module")
def workers(server):
    words = ["rq.cli", "worker", NAMESPACE, "--url", server.url, "--with-scheduler"]
    running = [Worker(words, {"REDISPOOL_URL": server.url}, "Listening on") for _ in range(2)]
    for one in running:
        wait_until(one.is_ready, 30)
    yield running
    for one in running:
        one.remove()


@pytest.fixture
def manager(server):
    return AccountManager(redis=server.url, namespace=NAMESPACE, ttl=60)


@pytest.fixture
def pool(manager, jobs):
    pool = manager.pool("switches")
    pool.reset()
    pool.add_account([Account(f"a{number}", f"secret-{number}") for number in range(1, 4)])
    for name in ("order", "pid"):
        jobs.book.delete(f"{NAMESPACE}:{name}")
    return pool


def result_of(job, seconds=20):
    """What a job returned, or the text of its failure."""
    wait_until(lambda: job.get_status() in {"finished", "failed", "stopped"}, seconds)
    latest = job.latest_result()
    return latest.return_value if latest.type == latest.Type.SUCCESSFUL else latest.exc_string


def wait_free(pool):
    wait_until(lambda: pool.status().free == 3, 5)


def test_every_run_has_an_account_and_gives_it_back(jobs, workers, queue, pool):
    sent = [queue.enqueue(jobs.work, 0.02) for _ in range(6)]
    assert {result_of(job) for job in sent} == {"a1", "a2", "a3"}
    wait_free(pool)
    assert pool.history()[0].owner.startswith(f"{JOBS}.work[")


def test_a_failed_job_has_released_its_account_and_told_no_secret(jobs, workers, queue, pool):
    assert "ValueError: <TaskAccount 'a1'" in result_of(queue.enqueue(jobs.fail))
    assert "Unserializable" in result_of(queue.enqueue(jobs.give_away))
    wait_free(pool)
    assert not [one for one in workers if "secret-" in one.text()]


def test_a_time_limit_releases_the_account(jobs, workers, queue, pool):
    assert "JobTimeoutException" in result_of(queue.enqueue(jobs.work, 60, job_timeout=1))
    wait_free(pool)


def test_one_that_waits_for_an_account_leaves_the_queue_when_its_time_is_up(jobs, workers, queue, pool):
    held = pool.acquire_accounts(3)
    assert "JobTimeoutException" in result_of(queue.enqueue(jobs.work, job_timeout=1))
    assert not pool.status().waiting
    assert "AcquireTimeout" in result_of(queue.enqueue(jobs.impatient))
    for account in held:
        account.release()


@pytest.mark.parametrize("by", ["kill", "command"])
def test_a_killed_jobs_account_stays_away_for_its_ttl_and_others_go_on(jobs, workers, queue, pool, server, by):
    job = queue.enqueue(jobs.long)
    pid = int(wait_until(lambda: jobs.book.get(f"{NAMESPACE}:pid"), 10))
    if by == "kill":
        os.kill(pid, signal.SIGKILL)
    else:
        send_stop_job_command(queue.connection, job.id)
    result_of(job)
    (lease,) = pool.status().leases
    assert lease.account == "a1"
    assert result_of(queue.enqueue(jobs.work)) == "a2"


def test_one_that_comes_again_later_blocks_no_worker_and_keeps_its_place(jobs, workers, queue, pool):
    pool.remove_account(["a2", "a3"])
    held = pool.acquire_account()
    sent = []
    for number in range(3):  # there are two workers
        sent.append(queue.enqueue(jobs.patient, str(number)))
        wait_until(lambda: pool.status().waiting == len(sent), 10)
    held.release()
    assert [result_of(job, 40) for job in sent] == ["a1"] * 3
    assert jobs.book.lrange(f"{NAMESPACE}:order", 0, -1) == ["0", "1", "2"]
    assert "redispool" not in sent[0].get_meta()


def test_the_host_decides_on_the_pool(jobs, workers, queue, pool, manager):
    manager.pool("lab").add_account(Account("of-the-lab"))
    manager.add_pool("lab", "lab-*")
    assert result_of(queue.enqueue(jobs.visit, host="lab-7")) == "of-the-lab"
