"""However the process of a job ends, Exscript is told, and what it has not read is nobody else's."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
import time
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize

import pytest

pytest.importorskip("Exscript")

from redispool import Account
from redispool.integrations.exscript import install
from tests.conftest import wait_until

from .conftest import MODES
from .queues import dummy, held

pytestmark = [
    # Exscript leaves its files and sockets to the garbage collector, and forks beside its threads
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]
in_processes = pytest.mark.parametrize("mode", [MODES[1]], indirect=True)


@pytest.fixture
def manager(manager):
    manager.add_account([Account("a"), Account("b")])
    return manager


@pytest.fixture
def hold(manager):
    """Makes a job that tells its pid when it holds an account, and then never ends; and what reads the pid."""
    pids, report = os.pipe()

    def job(job, host, conn):
        conn.account_factory(None)
        os.write(report, b"%8d" % os.getpid())
        threading.Event().wait()

    return job, lambda: int(os.read(pids, 8))


def has_ended(queue):
    return queue.workqueue.get_length() == 0


@in_processes
def test_a_process_that_somebody_else_has_waited_for_is_known_to_be_killed(queue, hold):
    job, read_pid = hold
    queue.run(dummy("r1"), job)
    pid = read_pid()
    for child in multiprocessing.active_children():
        child.join(0.01)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: has_ended(queue))
    assert queue.failed == 1


@in_processes
def test_a_process_that_ends_well_but_without_a_result_has_failed(manager, queue):
    def job(job, host, conn):
        conn.account_factory(None)
        os._exit(0)

    queue.run(dummy("r1"), job)
    wait_until(lambda: has_ended(queue))
    assert [str(error) for error in queue.errors["r1"]] == ["the process of job 'r1' ended with exit code 0"]
    wait_until(lambda: held(manager.default_pool) == [])


@in_processes
def test_a_process_that_is_killed_as_it_tells_its_result_has_failed(queue, manager):
    def job(job, host, conn):
        send = Connection._send

        def send_half(connection, data, *arguments):
            if len(data) > 1000:
                os.write(connection.fileno(), data[:1000])
                os.kill(os.getpid(), signal.SIGKILL)
            return send(connection, data, *arguments)

        Connection._send = send_half
        raise RuntimeError("x" * 100_000)

    queue.run(dummy("r1"), job)
    wait_until(lambda: has_ended(queue))
    assert queue.failed == 1


@in_processes
def test_a_process_whose_exit_code_nobody_is_told_has_failed(queue, hold):
    job, read_pid = hold
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        queue.run(dummy("r1"), job)
        os.kill(read_pid(), signal.SIGKILL)
        wait_until(lambda: has_ended(queue))
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert queue.failed == 1


@in_processes
def test_a_killed_job_is_known_where_no_file_can_be_opened_any_more(queue, hold):
    job, read_pid = hold
    queue.run(dummy("r1"), job)
    pid = read_pid()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: has_ended(queue))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@in_processes
@pytest.mark.parametrize("listener", ["one that answers", "one that fails"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_answer_that_came_too_late_is_not_taken_for_that_of_the_next_attempt(manager, queue, listener):
    mine = [manager.acquire_account("a"), manager.acquire_account("b")]
    waiting, report = os.pipe()
    names = multiprocessing.SimpleQueue()
    may_end, may_leave = multiprocessing.Event(), multiprocessing.Event()

    def give_up(*_):
        raise TimeoutError

    def fail(name, info):
        raise RuntimeError(name)

    def end_slowly():
        os.write(report, b"ending")
        may_end.wait(10)

    def job(job, host, conn):
        if job.failures == 0:
            signal.signal(signal.SIGALRM, give_up)
            Finalize(None, end_slowly, exitpriority=1)
            os.write(report, b"%8d" % os.getpid())
        names.put(conn.account_factory(None).get_name())
        may_leave.wait(10)

    if listener == "one that fails":
        queue.exc_cb = fail
    queue.run(dummy("r1"), job, attempts=2)
    pid = int(os.read(waiting, 8))
    wait_until(lambda: manager.default_pool.status().waiting == 1)
    os.kill(pid, signal.SIGALRM)
    assert os.read(waiting, 6) == b"ending"
    for handle in mine:
        handle.release()
    wait_until(lambda: len(held(manager.default_pool)) == 1)  # what it has asked for, and does not read
    may_end.set()
    name = names.get()
    assert held(manager.default_pool) == [name]
    may_leave.set()
    wait_until(lambda: has_ended(queue))


@in_processes
def test_an_attempt_is_not_taken_for_gone_as_exscript_tells_late_that_the_one_before_it_began(manager, queue):
    failing, told = threading.Event(), threading.Event()

    def be_late(child):
        assert failing.wait(10)  # the first attempt has failed, and the next one is not begun
        told.set()

    def go_on(name, info):
        failing.set()
        told.wait(1)

    events = queue.workqueue.job_started_event
    events.disconnect(queue.account_manager.on_job_started)
    events.listen(be_late)
    events.listen(queue.account_manager.on_job_started)
    queue.exc_cb = go_on

    def job(job, host, conn):
        if job.failures == 0:
            raise RuntimeError
        conn.account_factory(None).release()

    queue.run(dummy("r1"), job, attempts=2)
    wait_until(lambda: has_ended(queue))
    assert queue.failed == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_a_job_held_comes_back_though_the_callback_for_errors_fails(manager, queue):
    def fail(name, info):
        raise RuntimeError(name)

    def job(job, host, conn):
        conn.account_factory(None)
        raise RuntimeError

    queue.exc_cb = fail
    queue.run([dummy("r1"), dummy("r2")], job)
    wait_until(lambda: has_ended(queue))
    wait_until(lambda: held(manager.default_pool) == [])
    wait_until(lambda: not any(handler.is_alive() for handler in list(queue.pipe_handlers.values())))


def test_a_queue_that_was_destroyed_takes_a_manager(open_queue, manager, mode):
    queue = open_queue(None, mode=mode)
    queue.destroy()
    install(queue, manager)
    assert queue.account_manager.manager is manager


def test_jobs_that_are_killed_at_any_time_are_tried_again_until_they_are_done(manager, open_queue):
    queue = open_queue(manager, mode="multiprocessing")

    def job(job, host, conn):
        number = int(host.get_name()[1:])
        if job.failures < 2:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which kills
            signal.setitimer(signal.ITIMER_REAL, 0.0001 + number * 0.002)
        account = conn.account_factory(None)
        time.sleep(0.02)
        account.release()
        if job.failures < 2:
            os.kill(os.getpid(), signal.SIGKILL)

    queue.run([dummy(f"r{number}") for number in range(30)], job, attempts=3)
    wait_until(lambda: has_ended(queue), 30)
    queue.join()
    assert queue.failed == 0
    assert {len(errors) for errors in queue.errors.values()} == {2}
    assert held(manager.default_pool) == []
    wait_until(lambda: "redispool-job" not in {thread.name for thread in threading.enumerate()})
