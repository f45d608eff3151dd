"""Counts what a failover loses: primaries are killed under load, and the next ones asked for what the last had granted.

    python scripts/failovers.py             20 failovers, about two minutes
    python scripts/failovers.py --tries 50 --min-replicas 1
    python scripts/failovers.py --lag 0.005 replicas that are so many seconds behind, as on another host

Redis replicates asynchronously: a grant that was answered may be unknown to the replica that takes over, and the
account be granted again. With `--min-replicas 1` no answered grant may be: the exit status is 1 if one is.
Needs: pip install 'redispool[test]'.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import redis

from redispool import Account, AccountPool, RedispoolError, ReplicationError
from tests.faults.proxy import Proxy
from tests.servers import Server
from tests.topologies import SentinelSetup, replicate

POOL = "failing"
HELD = f"redispool:{{{POOL}}}:held"


@dataclass(frozen=True, slots=True)
class Loss:
    """Leases that were held when the primary died, and those of them that the next one does not know."""

    held: int
    unknown: int


class Load:
    """Threads that take accounts and give them back; what they hold, as they were told."""

    def __init__(self, url: str, threads: int, min_replicas: int) -> None:
        self.url = url
        self.min_replicas = min_replicas
        self.answered = 0
        self.held: set[str] = set()
        self.stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        pool = AccountPool(
            name=POOL, redis=self.url, ttl=60, auto_renew=False, patience=0.0, min_replicas=self.min_replicas
        )
        while not self.stopping.is_set():
            try:
                account = pool.acquire_account(timeout=1)
                self.held.add(account.lease.token)
                self.answered += 1
                time.sleep(random.uniform(0, 0.05))
                self.held.discard(account.lease.token)
                account.release()
            except ReplicationError:
                continue  # the replica is late
            except (redis.RedisError, OSError, TimeoutError, RedispoolError):
                return  # the primary is dead

    def wait(self, answered: int) -> None:
        end = time.monotonic() + 30
        while self.answered < answered:
            assert time.monotonic() < end, "there is no load"
            time.sleep(0.001)

    def stop(self) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join()


class LaggingPair:
    """A primary and a replica on which all arrives late; what is under way is lost when the primary dies."""

    def __init__(self, kind: str, lag: float) -> None:
        at_once = {"repl_diskless_sync_delay": "0"}
        self.primary = Server(kind, **at_once)
        self.url = self.primary.url
        self.proxy = Proxy(self.primary)
        self.replicas = [Server(kind, replicaof=f"127.0.0.1 {self.proxy.port}", **at_once)]
        replicate(self.primary)
        self.proxy.delay = lag

    def kill_primary(self) -> None:
        self.proxy.black_hole = True
        self.primary.kill()

    def remove(self) -> None:
        self.proxy.close()
        for server in (self.primary, *self.replicas):
            server.remove()


class Watched(SentinelSetup):
    def kill_primary(self) -> None:
        self.primary.kill()


def fail_over(kind: str, min_replicas: int, lag: float) -> Loss:
    """One failover under load."""
    setup = LaggingPair(kind, lag) if lag else Watched(kind)
    try:
        AccountPool([Account(f"a{n}", "x") for n in range(20)], name=POOL, redis=setup.url)
        load = Load(setup.url, 8, min_replicas)
        load.wait(random.randint(30, 100))
        setup.kill_primary()
        held = set(load.held)  # what was answered, and nobody has begun to give back
        load.stop()
        (replica,) = setup.replicas
        with replica.client() as client:
            known = {token.decode() for token in client.hkeys(HELD)}
        return Loss(len(held), len(held - known))
    finally:
        setup.remove()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--kind", choices=["valkey", "redis"], default="valkey")
    parser.add_argument("--min-replicas", type=int, default=0)
    parser.add_argument("--lag", type=float, default=0.0, help="seconds")
    given = parser.parse_args()
    logging.getLogger("redispool").setLevel(logging.ERROR)  # that a dead primary cannot be told is no news here
    losses = [fail_over(given.kind, given.min_replicas, given.lag) for _ in range(given.tries)]
    held, unknown = sum(loss.held for loss in losses), sum(loss.unknown for loss in losses)
    hit = sum(loss.unknown > 0 for loss in losses)
    print(
        f"{given.tries} failovers, min_replicas={given.min_replicas}, {given.lag:g} s behind: of {held} leases held, "
        f"{unknown} were unknown to the next primary, in {hit} of them"
    )
    return 1 if unknown and given.min_replicas else 0


if __name__ == "__main__":
    sys.exit(main())
