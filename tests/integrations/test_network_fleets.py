"""Fleets of netmiko's and Nornir's against devices that refuse accounts in use, and drop connections."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from redispool import Account
from tests.conftest import wait_until

pytest.importorskip("nornir_netmiko")
pytest.importorskip("asyncssh")
from .crew import TTL
from .devices import Devices

PASSWORDS = {f"a{number}": f"secret-{number}" for number in range(1, 6)}
BETWEEN_KILLS = 2.0
PROCESSES = {"netmiko": 6, "nornir": 2}

few_or_many = pytest.mark.parametrize("jobs", [60, pytest.param(500, marks=pytest.mark.slow)])


class Crew:
    """Processes of `crew`; one that is killed is replaced, and its jobs are put back."""

    def __init__(self, url, namespace, book, kind, port):
        self.words = [sys.executable, "-m", "tests.integrations.crew", url, namespace, kind, str(port)]
        self.namespace, self.book = namespace, book
        self.processes = [self.start() for _ in range(PROCESSES[kind])]
        self.killed = {}  # when, by the pid

    def start(self):
        return subprocess.Popen(self.words)

    def kill(self, pid):
        number, process = next((n, one) for n, one in enumerate(self.processes) if one.pid == pid)
        os.kill(pid, signal.SIGKILL)
        self.killed[pid] = time.time()
        process.wait()
        while self.book.lmove(f"{self.namespace}:doing:{pid}", f"{self.namespace}:todo", "LEFT", "LEFT"):
            pass
        self.processes[number] = self.start()

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture(params=["netmiko", "nornir"])
def kind(request):
    return request.param


@pytest.fixture
def devices():
    with Devices(PASSWORDS, number=50, drops=0.05) as running:
        yield running


@pytest.fixture
def pool(make_manager):
    manager = make_manager()
    manager.add_account([Account(name, password) for name, password in PASSWORDS.items()])
    return manager.default_pool


@pytest.fixture
def crew(server, namespace, client, devices, kind, pool):
    running = Crew(server.url, namespace, client, kind, devices.port)
    yield running
    running.end()


def order(client, namespace, devices, jobs):
    """Have the crew do so many jobs; what they are."""
    wanted = [f"{devices.addresses[number % 50]} show {number}" for number in range(jobs)]
    client.rpush(f"{namespace}:todo", *wanted)
    return wanted


def events_of(pool, kind):
    return [event for event in pool.history(limit=9000) if event.event == kind]


def assert_all_is_well(client, namespace, pool, devices, wanted):
    """All are done, none was refused, and each account had its share."""
    answers = client.hgetall(f"{namespace}:done")
    assert {job.decode(): answer.decode().strip() for job, answer in answers.items()} == {
        job: f"done: {job.partition(' ')[2]}" for job in wanted
    }
    granted = Counter(event.account for event in events_of(pool, "granted"))
    print(f"{len(answers)} done, {devices.logins.total()} logins, {devices.dropped.total()} dropped; {granted}")
    assert devices.dropped.total() > 0
    assert devices.refusals == {}
    assert not +devices.wrong
    share = granted.total() / len(PASSWORDS)
    most = share / (
        10 if len(wanted) == 500 else 2
    )  # a connection that was dropped is held for longer: chance has its say
    assert [name for name in PASSWORDS if abs(granted[name] - share) > most] == []


@pytest.mark.timeout(600)
@few_or_many
def test_a_fleet_is_never_refused_and_uses_its_accounts_alike(jobs, client, namespace, crew, pool, devices):
    wanted = order(client, namespace, devices, jobs)
    wait_until(lambda: client.hlen(f"{namespace}:done") == jobs, 400)
    assert_all_is_well(client, namespace, pool, devices, wanted)
    wait_until(lambda: pool.status().free == len(PASSWORDS))


@pytest.mark.timeout(900)
@few_or_many
def test_with_a_process_killed_every_two_seconds_it_is_the_same(jobs, client, namespace, crew, pool, devices):
    wanted = order(client, namespace, devices, jobs)
    due = time.monotonic() + BETWEEN_KILLS
    while client.hlen(f"{namespace}:done") < jobs:
        holders = [int(lease.token.split(":")[-2]) for lease in pool.status().leases]
        if time.monotonic() >= due and client.llen(f"{namespace}:todo") and holders:
            pid = holders[len(crew.killed) % len(holders)]
            if pid not in crew.killed:
                crew.kill(pid)
                due += BETWEEN_KILLS
        time.sleep(0.02)
    wait_until(lambda: pool.status().free == len(PASSWORDS))
    grants = {event.fence: event for event in events_of(pool, "granted")}
    away = [
        event.at - crew.killed[int(grants[event.fence].token.split(":")[-2])] for event in events_of(pool, "expired")
    ]
    print(f"{len(crew.killed)} killed, {len(away)} accounts lost for {max(away):.2f} s at the most")
    assert max(away) <= TTL + 1
    assert_all_is_well(client, namespace, pool, devices, wanted)
