"""Counts what a failover loses: primaries are killed under load, and the next ones asked for what the last had granted.

    python scripts/failovers.py             20 failovers, about two minutes
    python scripts/failovers.py --tries 50

Redis replicates asynchronously: a grant that was answered may be unknown to the replica that takes over, and the
account be granted again. Needs: pip install 'redispool[test]'.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import redis

from redispool import Account, AccountPool
from tests.topologies import SentinelSetup

POOL = "failing"
HELD = f"redispool:{{{POOL}}}:held"


@dataclass(frozen=True, slots=True)
class Loss:
    """Leases that were held when the primary died, and those of them that the next one does not know."""

    held: int
    unknown: int


class Load:
    """Threads that take accounts and give them back; what they hold, as they were told."""

    def __init__(self, url: str, threads: int) -> None:
        self.url = url
        self.held: set[str] = set()
        self.stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        pool = AccountPool(name=POOL, redis=self.url, ttl=60, auto_renew=False, patience=0.0)
        while not self.stopping.is_set():
            try:
                account = pool.acquire_account(timeout=1)
                self.held.add(account.lease.token)
                time.sleep(random.uniform(0, 0.01))
                self.held.discard(account.lease.token)
                account.release()
            except (redis.RedisError, OSError, TimeoutError):
                return  # the primary is dead

    def stop(self) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join()


def fail_over(kind: str) -> Loss:
    """One failover under load."""
    setup = SentinelSetup(kind)
    try:
        AccountPool([Account(f"a{n}", "x") for n in range(20)], name=POOL, redis=setup.url)
        load = Load(setup.url, 8)
        time.sleep(random.uniform(0.5, 1.0))
        setup.primary.kill()
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
    given = parser.parse_args()
    losses = [fail_over(given.kind) for _ in range(given.tries)]
    held, unknown = sum(loss.held for loss in losses), sum(loss.unknown for loss in losses)
    hit = sum(loss.unknown > 0 for loss in losses)
    print(
        f"{given.tries} failovers: of {held} leases held, {unknown} were unknown to the next primary, in {hit} of them"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
