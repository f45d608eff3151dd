"""A cluster of several primaries against one of one: what a cycle costs the busiest of them, and so how they scale.

By the servers' CPU, since they share this machine's processors with the clients: by the clock, nothing would scale.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.report import Figure, figure
from benchmark.server import Counters
from redispool import Account, AccountPool
from redispool.protocol.keys import PoolKeys

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from benchmark.settings import Settings

sys.path.append(str(Path(__file__).parent.parent.parent))  # the servers are the tests'

from tests.topologies import Cluster

_IDLE = 0.5  # seconds


class _Fleet:
    """The pools of these names in a cluster."""

    def __init__(self, cluster: Cluster, names: list[str], settings: Settings) -> None:
        self._cycles = settings.cluster_cycles
        self._observers: list[redis.Redis] = [node.client() for node in cluster.nodes]
        client = cluster.client()
        self._pools = [
            AccountPool(
                [Account(f"account-{number}", "a secret") for number in range(10)],
                name=name, namespace=settings.prefix, redis=client,
            )
            for name in names
        ]  # fmt: skip
        self._take_turns()
        # what a server spends in a second on nothing; three have three times that, however few turns there are
        self._idle = [cpu / _IDLE for cpu in self._spent_while(lambda: time.sleep(_IDLE))]

    def cycles(self) -> list[float]:
        """Microseconds of CPU that some cycles in every pool cost each primary, divided by the number of all cycles."""
        start = time.perf_counter()
        spent = self._spent_while(self._take_turns)
        seconds = time.perf_counter() - start
        count = self._cycles * len(self._pools)
        return [(cpu - idle * seconds) / count * 1e6 for cpu, idle in zip(spent, self._idle, strict=True)]

    def _take_turns(self) -> None:
        for _ in range(self._cycles):
            for pool in self._pools:
                pool.acquire_account().release()

    def _spent_while(self, work: Callable[[], None]) -> list[float]:
        """Seconds of CPU that each primary spends meanwhile."""
        before = [Counters.read(observer) for observer in self._observers]
        work()
        after = [Counters.read(observer) for observer in self._observers]
        return [b.since(a).cpu for a, b in zip(before, after, strict=True)]


def _spread(cluster: Cluster, settings: Settings) -> list[str]:
    """Names of as many pools on each primary: by their hashes, a few pools would not fall evenly."""
    names = defaultdict(list)
    with cluster.client() as client:
        for number in itertools.count():
            name = f"{settings.prefix}:cluster-{number}"
            names[client.get_node_from_key(PoolKeys(settings.prefix, name).meta).port].append(name)
            each = max(settings.cluster_pools // settings.primaries, 1)
            if len(names) == settings.primaries and min(map(len, names.values())) >= each:
                return [name for port in names for name in names[port][:each]]
    raise AssertionError


def measure(settings: Settings) -> list[Figure]:
    """The figures of clusters, the two by turns; they are started for it, and the server of the run is not asked."""
    clusters = [Cluster("valkey", primaries=count) for count in (1, settings.primaries)]
    try:
        names = _spread(clusters[1], settings)
        fleets = [_Fleet(cluster, names, settings) for cluster in clusters]
        samples = [[fleet.cycles() for fleet in fleets] for _ in range(settings.cluster_rounds)]
    finally:
        for cluster in clusters:
            cluster.remove()
    alone, together = ([sample[number] for sample in samples] for number in (0, 1))
    # over all rounds: a primary's share of one round depends on when the system looked at it
    total = [sum(node) for node in zip(*together, strict=True)]
    group = f"{settings.primaries} primaries against one, {len(names)} pools, by their CPU"
    return [
        figure(group, "CPU of a cycle, of all together", [sum(b) / a[0] for a, b in zip(alone, together, strict=True)]),
        figure(group, "share of the busiest", [max(total) / sum(total)], ""),
        figure(group, "cycles until the busiest has used a second of CPU", [sum(a[0] for a in alone) / max(total)]),
        figure(group, "one primary: CPU of a cycle", [a[0] for a in alone], "µs"),
    ]
