"""Jobs of an Exscript.Queue that fail, are killed, or rely on what is gone: nothing is lost, nobody waits for ever."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing import popen_fork
from multiprocessing.util import Finalize

import pytest

pytest.importorskip("Exscript")

from Exscript.account import AccountProxy

from redispool import Account, LeaseLost, NotHeld, PoolEmpty, RedispoolError
from tests.conftest import wait_until

from .conftest import MODES
from .queues import dummy, held, run, start_program

# Exscript leaves its files and sockets to the garbage collector, and forks beside its threads
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


def test_an_empty_pool_fails_the_job_and_leaves_it_the_account_that_it_holds(manager, queue):
    manager.add_pool("lab", "lab-*")
    manager.add_account([Account("a"), Account("b")])
    names = multiprocessing.SimpleQueue()

    def job(job, host, conn):
        with conn.account_factory(None).context() as account:
            names.put(account.get_name())
            with pytest.raises(PoolEmpty, match="'lab'"):
                AccountProxy.for_host(job.data["pipe"], dummy("lab-1"))
            # in Exscript, nobody would answer any more
            with AccountProxy.for_host(job.data["pipe"], dummy("r2")).context() as second:
                names.put(second.get_name())
        conn.account_factory(None)
        AccountProxy.for_host(job.data["pipe"], dummy("lab-1"))

    run(queue, dummy("r1"), job)
    assert [type(error) for error in queue.errors.pop("r1")] == [PoolEmpty]
    assert (names.get(), names.get()) == ("a", "b")
    assert held(manager.default_pool) == [], "what the job did not release went back when it ended"


def test_a_lease_that_was_ended_meanwhile_fails_the_release_and_nothing_after_it(manager, queue):
    manager.add_account(Account("a"))
    ended = multiprocessing.Event()

    def job(job, host, conn):
        account = conn.account_factory(None)
        assert ended.wait(10)
        with pytest.raises(LeaseLost):
            account.release()
        with pytest.raises(NotHeld):
            account.release()
        account.acquire()
        account.release()

    queue.run(dummy("r1"), job)
    (lease,) = wait_until(lambda: manager.default_pool.status().leases)
    manager.release_accounts(lease.owner)
    ended.set()
    queue.join()
    assert queue.errors == {}


def test_an_error_that_cannot_be_pickled_arrives_as_text(manager, queue):
    def match(host):
        raise LookupError(threading.Lock(), "no such host")

    manager.add_pool("lab", match)

    def job(job, host, conn):
        conn.account_factory(None)

    run(queue, dummy("r1"), job)
    (error,) = queue.errors["r1"]
    assert type(error) is RedispoolError
    assert "LookupError" in str(error)
    assert "no such host" in str(error)


def test_a_job_that_fails_is_tried_again_and_gives_back_what_it_held(manager, queue):
    manager.add_account([Account("a"), Account("b")])
    attempts = multiprocessing.SimpleQueue()

    def job(job, host, conn):
        attempts.put(conn.account_factory(None).get_name())
        raise RuntimeError("no")

    run(queue, dummy("r1"), job, attempts=2)
    assert len(queue.errors["r1"]) == 2
    assert {attempts.get(), attempts.get()} == {"a", "b"}
    assert held(manager.default_pool) == []


@pytest.mark.parametrize("mode", [MODES[1]], indirect=True)
def test_the_account_of_a_killed_job_comes_back_at_once_and_the_job_is_tried_again(manager, queue):
    manager.add_account(Account("a"))
    manager.add_pool("lab", "lab-*")
    manager.pool("lab").add_account(Account("lab-account"))
    report = multiprocessing.SimpleQueue()

    def job(job, host, conn):
        if job.failures == 0:
            report.put((os.getpid(), conn.account_factory(None).get_name()))
            job.data["pipe"].send(("acquire-account-for-host", dummy("lab-1")))  # and the answer is never read
            threading.Event().wait()
        report.put((os.getpid(), conn.account_factory(None).get_name()))

    queue.run(dummy("r1"), job, attempts=2)
    pid, name = report.get()
    wait_until(lambda: held(manager.pool("lab")))
    os.kill(pid, signal.SIGKILL)
    queue.join()
    again, name_again = report.get()
    assert pid != again
    assert name == name_again == "a", "the answer that the dead had not read was not taken for another"
    assert [str(error) for error in queue.errors["r1"]] == ["the process of job 'r1' ended with exit code -9"]
    assert queue.failed == 0
    assert held(manager.default_pool) == held(manager.pool("lab")) == []


@pytest.mark.parametrize("mode", [MODES[1]], indirect=True)
def test_a_job_that_is_killed_before_it_has_asked_for_an_account_is_tried_again(manager, queue):
    manager.add_account(Account("a"))
    pids, report = os.pipe()  # a queue has a lock, which the killed would keep

    def job(job, host, conn):
        os.write(report, b"%8d" % os.getpid())
        if job.failures < 2:
            threading.Event().wait()
        conn.account_factory(None)

    queue.run(dummy("r1"), job, attempts=3)
    for _ in range(2):
        os.kill(int(os.read(pids, 8)), signal.SIGKILL)
    os.read(pids, 8)  # Exscript would wait for ever
    queue.join()
    assert len(queue.errors["r1"]) == 2
    assert queue.failed == 0
    assert held(manager.default_pool) == []


@pytest.mark.parametrize("mode", [MODES[1]], indirect=True)
def test_a_killed_job_is_known_though_another_thread_is_told_of_its_end_first(manager, queue, monkeypatch):
    """Whoever starts a process asks for the ends of all others; who waits for one of these learns nothing then."""
    manager.add_account(Account("a"))
    pids, report = os.pipe()
    poll, asked = popen_fork.Popen.poll, []

    def poll_second(popen, flag=os.WNOHANG):
        if flag == 0 and popen.returncode is None:
            os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
            asked.append(popen)
        if asked.count(popen) in {1, 2, 3}:
            asked.append(popen)
            return None
        return poll(popen, flag)

    def job(job, host, conn):
        conn.account_factory(None)
        os.write(report, b"%8d" % os.getpid())
        if job.failures == 0:
            threading.Event().wait()

    monkeypatch.setattr(popen_fork.Popen, "poll", poll_second)
    queue.run(dummy("r1"), job, attempts=2)
    os.kill(int(os.read(pids, 8)), signal.SIGKILL)
    os.read(pids, 8)
    queue.join()
    assert [str(error) for error in queue.errors["r1"]] == ["the process of job 'r1' ended with exit code -9"]


# a thread of Exscript's own may be reading from the job's pipe when the job is killed, and end with an error
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("mode", [MODES[1]], indirect=True)
def test_a_job_that_is_killed_after_it_was_done_has_succeeded_and_the_queue_ends(manager, queue):
    manager.add_account(Account("a"))

    def job(job, host, conn):
        conn.account_factory(None)
        Finalize(None, os.kill, (os.getpid(), signal.SIGKILL), exitpriority=1)  # when it has told its result

    run(queue, [dummy(f"r{number}") for number in range(40)], job)
    assert queue.errors == {}
    assert held(manager.default_pool) == []


@pytest.mark.parametrize("mode", [MODES[1]], indirect=True)
def test_a_job_that_cannot_be_forked_fails_and_nobody_waits_for_its_end(manager, queue, monkeypatch):
    def refuse():
        raise OSError("no more processes")

    monkeypatch.setattr(os, "fork", refuse)
    queue.run(dummy("r1"), lambda job, host, conn: None)
    queue.join()
    assert [str(error) for error in queue.errors["r1"]] == ["no more processes"]
    wait_until(lambda: "redispool-job" not in {thread.name for thread in threading.enumerate()})


@pytest.mark.parametrize("mode", [MODES[1]], indirect=True)
def test_a_job_that_is_killed_while_it_waits_leaves_the_line(manager, queue):
    manager.add_account(Account("a"))
    mine = manager.acquire_account("a")
    report = multiprocessing.SimpleQueue()

    def job(job, host, conn):
        report.put(os.getpid())
        conn.account_factory(None)

    queue.run(dummy("r1"), job)
    wait_until(lambda: manager.default_pool.status().waiting == 1)
    os.kill(report.get(), signal.SIGKILL)
    wait_until(lambda: queue.failed == 1)
    mine.release()
    wait_until(lambda: (status := manager.default_pool.status()).waiting == status.held == 0)
    queue.join()
    assert held(manager.default_pool) == []


def test_the_accounts_of_a_killed_program_come_back_with_their_ttl(server, manager, namespace, mode):
    manager.add_account(Account("a"))
    program = start_program(server, namespace, mode, 1, "1", "hang")
    assert program.stdout.readline() == "held\n"
    assert held(manager.default_pool) == ["a"]
    os.killpg(program.pid, signal.SIGKILL)  # with the processes of its jobs, which would wait for ever
    program.communicate()
    manager.acquire_account("a", timeout=10).release()
