"""Exscript.Queues with many jobs against a judge that drops connections, with job processes and programs killed."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import suppress

import psutil
import pytest

pytest.importorskip("Exscript")

from redispool import Account
from tests.conftest import wait_until

from .conftest import MODES
from .queue_program import judged_host, log_in
from .queues import run, start_program
from .telnet_judge import TelnetJudge

# Exscript leaves its files and sockets to the garbage collector, and forks beside its threads
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")

PASSWORDS = {f"a{number}": f"secret-{number}" for number in range(1, 6)}
SECONDS = 0.05  # of a login
BETWEEN_KILLS = 2.0
TTL = 1.0  # of queue_program
AT_ONCE, LOGINS = 4, 10  # programs, and what each does

few_or_many = pytest.mark.parametrize("jobs", [100, pytest.param(500, marks=pytest.mark.slow)])


@pytest.fixture
def pool(manager):
    manager.add_account([Account(name, password) for name, password in PASSWORDS.items()])
    return manager.default_pool


@pytest.fixture
def judge():
    with TelnetJudge(PASSWORDS, SECONDS, drops=0.05) as running:
        yield running


def events_of(pool, kind):
    return [event for event in pool.history(limit=9000) if event.event == kind]


def assert_all_is_well(judge, pool, jobs, tenths=1):
    """None was refused, and each account had its share."""
    granted = Counter(event.account for event in events_of(pool, "granted"))
    print(f"{jobs} done, {judge.logins.total()} logins, {judge.dropped.total()} dropped; {granted}")
    assert judge.logins.total() >= jobs
    assert judge.dropped.total() > 0
    assert judge.refusals == judge.wrong == {}
    share = granted.total() / len(PASSWORDS)
    most = share * (tenths if jobs == 500 else 5) / 10  # of few, chance has its say
    assert [name for name in PASSWORDS if abs(granted[name] - share) > most] == []
    wait_until(lambda: pool.status().free == len(PASSWORDS))


def hosts(judge, jobs):
    return [judged_host(f"r{number}", judge.port) for number in range(jobs)]


@pytest.mark.timeout(300)
@few_or_many
def test_a_queue_is_never_refused_and_uses_its_accounts_alike(jobs, pool, queue, judge):
    run(queue, hosts(judge, jobs), log_in, attempts=10)
    assert queue.failed == 0
    assert_all_is_well(judge, pool, jobs)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", [MODES[1]], indirect=True)
@few_or_many
def test_with_the_process_of_a_job_killed_now_and_then_it_is_the_same(jobs, pool, queue, judge):
    program, killed = psutil.Process(), []
    due = time.monotonic() + BETWEEN_KILLS / 4
    queue.run(hosts(judge, jobs), log_in, attempts=10)
    while judge.logins.total() < jobs:
        of_jobs = [child for child in program.children() if cmdline(child) == program.cmdline()]
        if time.monotonic() >= due and of_jobs:
            with suppress(psutil.NoSuchProcess):  # it has just ended
                of_jobs[0].kill()
                killed.append(of_jobs[0])
                due += BETWEEN_KILLS / 4  # a job takes a moment only
        time.sleep(0.01)
    queue.join()
    print(f"{len(killed)} killed")
    assert killed
    assert queue.failed == 0
    assert_all_is_well(judge, pool, jobs)


def cmdline(process):
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


@pytest.mark.timeout(600)
@pytest.mark.slow
@pytest.mark.parametrize("jobs", [500])
def test_with_a_program_killed_every_two_seconds_none_is_refused(jobs, server, namespace, pool, mode, judge):
    """A program that was killed is started anew, with all its logins."""
    killed, done = {}, 0
    words = (server, namespace, mode, judge.port, str(LOGINS), "10")
    programs = [start_program(*words) for _ in range(AT_ONCE)]
    try:
        due = time.monotonic() + BETWEEN_KILLS
        while done < jobs // LOGINS:
            for place, program in enumerate(programs):
                if program.poll() is not None:
                    assert program.communicate()[0] == "failed 0\n"
                    done += 1
                    programs[place] = start_program(*words)
            holders = [int(lease.token.split(":")[-2]) for lease in pool.status().leases]
            running = [place for place, program in enumerate(programs) if program.pid in holders]
            if time.monotonic() >= due and running:
                place = running[len(killed) % len(running)]
                killed[programs[place].pid] = time.time()
                kill(programs[place])
                programs[place] = start_program(*words)
                due += BETWEEN_KILLS
            time.sleep(0.01)
    finally:
        for program in programs:
            killed[program.pid] = time.time()
            kill(program)
    wait_until(lambda: pool.status().free == len(PASSWORDS))
    grants = {event.fence: event for event in events_of(pool, "granted")}
    away = [event.at - killed[int(grants[event.fence].token.split(":")[-2])] for event in events_of(pool, "expired")]
    print(f"{len(killed)} killed, {len(away)} accounts lost for {max(away):.2f} s at the most")
    assert max(away) <= TTL + 1
    assert_all_is_well(judge, pool, jobs, tenths=5)  # of four programs, one is always starting


def kill(program):
    """With the processes of its jobs, which would wait for ever."""
    os.killpg(program.pid, signal.SIGKILL)
    program.communicate()
