"""A cluster moves a pool's slot, key by key, while accounts are held, waited for, renewed and handed on."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import pytest

import redispool.asyncio
from redispool import Account, AccountPool
from tests import invariants
from tests.conftest import wait_until
from tests.servers import BINARIES
from tests.topologies import Cluster

SESSIONS = {"a1": 1, "a2": 1, "several": 3}


class Judge:
    """Counts who uses what."""

    def __init__(self):
        self.using = Counter()
        self.twice = []
        self.uses = 0
        self._counting = threading.Lock()

    def begin(self, name):
        with self._counting:
            self.uses += 1
            self.using[name] += 1
            if self.using[name] > SESSIONS[name]:
                self.twice.append(name)

    def end(self, name):
        with self._counting:
            self.using[name] -= 1


@pytest.fixture(params=[kind for kind, binary in BINARIES.items() if binary])
def cluster(request):
    running = Cluster(request.param)
    yield running
    running.remove()


class Crowd:
    """Threads and tasks that take turns, until they are told to stop; what went wrong for them."""

    def __init__(self, url, pool, judge):
        self.options = {"name": pool, "redis": url, "ttl": 5}
        self.judge = judge
        self.errors = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.work) for _ in range(5)]
        self.threads.append(threading.Thread(target=asyncio.run, args=(self.all_tasks(),)))
        for thread in self.threads:
            thread.start()

    def work(self):
        pool = AccountPool(**self.options)
        while not self.stopping.is_set() and not self.errors:
            try:
                with pool.lease(timeout=20) as account:
                    self.judge.begin(account.name)
                    self.stopping.wait(0.002)
                    self.judge.end(account.name)
            except Exception as error:
                self.errors.append(error)

    async def all_tasks(self):
        async with redispool.asyncio.AccountPool(**self.options) as pool:
            await asyncio.gather(*(self.task(pool) for _ in range(5)))

    async def task(self, pool):
        while not self.stopping.is_set() and not self.errors:
            try:
                async with pool.lease(timeout=20) as account:
                    self.judge.begin(account.name)
                    await asyncio.sleep(0.002)
                    self.judge.end(account.name)
            except Exception as error:
                self.errors.append(error)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def test_a_slot_is_moved_under_holders_and_waiters_and_nobody_notices(cluster, pool_name):
    accounts = [Account(name, "x", max_sessions=count) for name, count in SESSIONS.items()]
    pool = AccountPool([*accounts, Account("kept", "x")], name=pool_name, redis=cluster.url, ttl=3)
    kept = pool.acquire_account("kept", timeout=5)
    judge = Judge()
    crowd = Crowd(cluster.url, pool_name, judge)
    waiting = AccountPool(name=pool_name, redis=cluster.url)
    got = []
    waiter = threading.Thread(target=lambda: got.append(waiting.acquire_account("kept", timeout=60)))
    waiter.start()
    try:
        wait_until(lambda: judge.uses > 50 and any(one.wants == "kept" for one in pool.waiting()))
        key = f"redispool:{{{pool_name}}}:meta"
        source = cluster.node_of(key)
        cluster.move(key, next(node for node in cluster.nodes if node is not source), pause=0.03)
        assert cluster.node_of(key) is not source
        moved_at = judge.uses
        wait_until(lambda: judge.uses > moved_at + 50 or crowd.errors, 30)
        kept.release()
        waiter.join()
    finally:
        crowd.stop()
    assert crowd.errors == []
    assert judge.twice == []
    got[0].release()
    assert pool.audit() == []
    assert pool.status().free == sum(SESSIONS.values()) + 1
    with cluster.client() as client:
        invariants.check(client, "redispool", pool_name)
