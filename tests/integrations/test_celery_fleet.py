"""A fleet of Celery's against a server that refuses accounts in use: scripts/examples/celery_fleet.py, as it stands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from redispool import Account, AccountPool
from tests.conftest import wait_until
from tests.servers import Server

from .ssh_server import SSHServer
from .workers import CeleryWorker

if TYPE_CHECKING:
    from celery.result import AsyncResult

EXAMPLES = Path(__file__).parents[2] / "scripts" / "examples"
PASSWORDS = {f"a{number}": f"secret-{number}" for number in range(1, 6)}
TTL = 1.0  # seconds
SECONDS = 0.15  # that a command takes; a login comes on top
BETWEEN_KILLS = 2.0

few_or_many = pytest.mark.parametrize("tasks", [200, pytest.param(500, marks=pytest.mark.slow)])


@pytest.fixture
def ssh_server():
    with SSHServer(PASSWORDS, drops=0.05, seed=11, seconds=SECONDS) as server:
        yield server


@pytest.fixture
def redis_server():
    """One for each, as a broker's queue has no name of its own here."""
    server = Server("redis")
    yield server
    server.remove()


@pytest.fixture
def pool(redis_server):
    accounts = [Account(name, password) for name, password in PASSWORDS.items()]
    return AccountPool(accounts, name="default", redis=redis_server.url)


@pytest.fixture
def settings(redis_server, ssh_server, tmp_path):
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(ssh_server.known_host + "\n")
    return {
        "CELERY_BROKER_URL": redis_server.url,
        "REDISPOOL_URL": redis_server.url,
        "FLEET_TTL": str(TTL),
        "FLEET_KNOWN_HOSTS": str(known_hosts),
        "PYTHONPATH": f"{EXAMPLES}:{EXAMPLES.parents[1]}",
    }


@pytest.fixture
def worker(settings, pool):
    running = CeleryWorker("celery_fleet", settings)
    wait_until(running.is_ready, 30)
    yield running
    running.remove()


@pytest.fixture
def sender(redis_server):
    app = Celery(broker=redis_server.url, backend=redis_server.url)
    yield app
    app.close()


def send(sender, ssh_server, count):
    return [
        sender.send_task("celery_fleet.ask", ["127.0.0.1", f"show {number}"], {"port": ssh_server.port})
        for number in range(count)
    ]


def assert_all_is_well(results, ssh_server, pool):
    """All are done, none was refused, and each account had its share."""
    answers = [result.get(timeout=10).partition(": ") for result in results]
    assert [command for _, _, command in answers] == [f"show {number}" for number in range(len(results))]
    figures = ssh_server.figures()
    assert figures.refusals == {}
    assert not +figures.wrong
    assert figures.dropped.total() > 0
    granted = Counter(event.account for event in history_of(pool, "granted"))
    share = granted.total() / len(PASSWORDS)
    print(f"{len(results)} done, {figures.logins.total()} logins, {figures.dropped.total()} dropped; {granted}")
    assert set(granted) == set(PASSWORDS)
    assert [name for name, count in granted.items() if abs(count - share) > share / 10] == []


def history_of(pool, *kinds):
    return [event for event in reversed(pool.history(limit=9000)) if event.event in kinds]


@pytest.mark.timeout(600)
@few_or_many
def test_a_fleet_is_never_refused_and_uses_its_accounts_alike(tasks, worker, sender, ssh_server, pool):
    results = send(sender, ssh_server, tasks)
    wait_until(lambda: all(result.ready() for result in results[::-1]), 300)
    assert_all_is_well(results, ssh_server, pool)
    assert pool.status().free == len(PASSWORDS)


@dataclass
class Killer:
    """Kills the process that holds an account, every account in turn and all of them equally often."""

    worker: CeleryWorker
    pool: AccountPool
    results: list[AsyncResult]
    due: float = field(default_factory=lambda: time.monotonic() + BETWEEN_KILLS)
    killed: dict[int, float] = field(default_factory=dict)  # when, by the clock of the host, which is the server's

    def tick(self):
        begun = len(self.killed) % len(PASSWORDS) > 0
        if time.monotonic() < self.due or (not begun and not self.enough_left()):
            return
        turn = sorted(PASSWORDS)[len(self.killed) % len(PASSWORDS)]
        for lease in self.pool.status().leases:
            pid = int(lease.token.split(":")[-2])
            if lease.account == turn and pid in self.worker.children():
                os.kill(pid, signal.SIGKILL)
                self.killed[pid] = time.time()
                self.due += BETWEEN_KILLS

    def enough_left(self):
        """Whether the work lasts for a round of kills."""
        left = sum(not result.ready() for result in self.results)
        return left * 2 * SECONDS / 4 > BETWEEN_KILLS * len(PASSWORDS)

    def longest_away(self):
        """Seconds from a holder's death until the server had its account back; for each that was lost."""
        expired = {event.fence: event.at for event in history_of(self.pool, "expired")}
        grants = {event.fence: event for event in history_of(self.pool, "granted")}
        return [at - self.killed[int(grants[fence].token.split(":")[-2])] for fence, at in expired.items()]


@pytest.mark.timeout(900)
@few_or_many
def test_with_a_process_killed_every_two_seconds_it_is_the_same(tasks, worker, sender, ssh_server, pool):
    results = send(sender, ssh_server, tasks)
    killer = Killer(worker, pool, results)

    def done():
        killer.tick()
        return all(result.ready() for result in results[::-1])

    wait_until(done, 600)
    wait_until(lambda: pool.status().free == len(PASSWORDS))
    away = killer.longest_away()
    print(f"{len(killer.killed)} killed, {len(away)} accounts lost for {max(away):.2f} s at the most")
    assert len(killer.killed) >= len(PASSWORDS)
    assert max(away) <= TTL + 1
    assert_all_is_well(results, ssh_server, pool)


def test_the_example_prints_the_answers(settings, worker, ssh_server):
    program = [sys.executable, str(EXAMPLES / "celery_fleet.py"), "--port", str(ssh_server.port), "show clock"]
    done = subprocess.run(
        [*program, "127.0.0.1", "127.0.0.1"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["127.0.0.1"] * 2
    assert {line.split(": ", 2)[2] for line in lines} == {"show clock"}
