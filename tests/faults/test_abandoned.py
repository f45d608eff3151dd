"""How soon an account comes back whose holder died, while a crowd waits: judged by the server's clock alone."""

from __future__ import annotations

import threading
import time

import pytest

from redispool import AccountPool
from redispool.protocol.oversight import event_rows
from tests import faces
from tests.behaviour.conftest import check_at_rest

CROWD, ACCOUNTS, DEATHS, TTL = 64, 3, 4, 1.0
LATEST = 0.5  # seconds after the end of the TTL


class Pulse:
    """The longest that the server, or this machine, kept anybody waiting for an answer."""

    def __init__(self, client):
        self.longest, self._client, self._stopping = 0.0, client, threading.Event()
        self._thread = threading.Thread(target=self._feel)
        self._thread.start()

    def _feel(self):
        while not self._stopping.wait(0.02):
            start = time.monotonic()
            self._client.ping()
            self.longest = max(self.longest, time.monotonic() - start)

    def stop(self):
        self._stopping.set()
        self._thread.join()


class Crowd:
    """Threads that take accounts in turn, use them for a moment and queue up again."""

    def __init__(self, pool):
        self.errors, self._pool, self._stopping = [], pool, threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(CROWD)]
        for thread in self._threads:
            thread.start()

    def _work(self):
        try:
            while not self._stopping.is_set():
                with self._pool.lease(timeout=60):
                    time.sleep(0.02)
        except Exception as error:
            self.errors.append(error)

    def stop(self):
        self._stopping.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("face", [AccountPool, faces.Pool], ids=["blocking", "asyncio"])
def test_abandoned_accounts_are_back_half_a_second_after_their_ttl_under_64_waiters(
    make_pool, client, pool_name, server, worker, face
):
    make_pool(ACCOUNTS, history=1_000_000)
    pool = face(name=pool_name, redis=server.url)
    victims = [worker(server.url, ttl=TTL) for _ in range(DEATHS)]
    crowd, pulse = Crowd(pool), Pulse(client)
    away = []
    try:
        for victim in victims:
            mine = victim.do("acquire", timeout=30)
            victim.kill()
            status = pool.status()
            end = next(lease.expires_at for lease in status.leases if lease.token == mine["token"])
            assert status.waiting > CROWD / 2
            away.append(until_granted_again(client, pool_name, mine) - end)
    finally:
        crowd.stop()
        pulse.stop()
    print(f"{face.__module__}: away beyond the TTL, in s: {[round(one, 3) for one in sorted(away)]}")
    assert crowd.errors == []
    assert min(away) >= 0
    assert max(away) <= LATEST + pulse.longest
    check_at_rest(client, "redispool", pool_name)


def until_granted_again(client, pool_name, dead):
    """When the account went to the next one, by the server's clock."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for entry, fields in client.xrevrange(f"redispool:{{{pool_name}}}:events", count=2000)[::-1]:
            for row in event_rows(entry, [word for pair in fields.items() for word in pair]):
                if row.event == "granted" and row.account == dead["name"] and row.fence > dead["fence"]:
                    return row.at
        time.sleep(0.05)
    raise AssertionError(f"{dead['name']} never came back")
