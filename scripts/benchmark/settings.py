"""How long and how large a run is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """One run; times in seconds. The defaults make one of less than three minutes.

    Attributes:
        url: the server's.
        prefix: what the names of everything that the run leaves in Redis begin with.
        rounds: how often each measurement goes around all peers.
        cycles: acquire and release, so many times, is one sample of an uncontended peer.
        contenders: clients that contend for one account, each a process of its own
        spreads: or spread over so many processes, in which they are threads.
        contended_rounds: how often all peers contend.
        quota: turns that each contender has to take in one round, so many that how they start and end decides little.
        flat_out_rounds: how often they take as many turns as they can get,
        flat_out_seconds: and for how long, per peer and round.
        waiters: contenders while the hand-off to one of them at rest is measured; threads of those processes.
        handoff_rounds: how often hand-offs are watched,
        handoff_seconds: and for how long, per peer and round.
        hold: how long each holds the account meanwhile, so that the others are at rest when it is released.
        crowds: numbers of contenders, each of which contends
        crowd_accounts: for each of these numbers of accounts,
        crowd_seconds: so long,
        crowd_rounds: so often.
        pool_sizes: accounts in the pools that are compared; the first is what the others are compared with.
        batches: samples of the server's time in each.
        accounts: in the large pool from which accounts are chosen by labels.
        queue_sizes: waiters in the queues that are compared with an empty one.
        lease_sizes: leases in the pools that are compared with one without.
        memory_accounts: accounts of which the server's memory is measured.
        memory_leases: leases of which it is.
        memory_waiters: waiting tasks of which it is.
        memory_threads: waiting threads, each with its connection, of which it is.
        task_counts: asyncio tasks that take turns at one time,
        task_cycles: and how many turns in all.
        task_waiters: asyncio tasks of one process that wait.
        storm: processes that start at the same time.
        batch_sizes: accounts that are acquired at once.
        batch_rounds: how often.
        stripes: of the pool that is compared with one of a single stripe,
        striped_accounts: of so many accounts,
        striped_workers: for which so many tasks contend,
        striped_seconds: so long.
        primaries: of the cluster that is compared with one of a single primary.
        cluster_pools: pools that spread over them.
        cluster_rounds: samples,
        cluster_cycles: and so many cycles in each pool are one.
    """

    url: str
    prefix: str
    rounds: int = 16
    cycles: int = 100
    contenders: int = 16
    spreads: tuple[int, ...] = (16, 4, 1)
    contended_rounds: int = 3
    quota: int = 25
    flat_out_rounds: int = 2
    flat_out_seconds: float = 0.8
    waiters: int = 64
    handoff_rounds: int = 2
    handoff_seconds: float = 3.0
    hold: float = 0.003
    crowds: tuple[int, ...] = (1, 4, 16, 64, 256, 1024)
    crowd_accounts: tuple[int, ...] = (1, 8, 64)
    crowd_seconds: float = 0.3
    crowd_rounds: int = 1
    pool_sizes: tuple[int, ...] = (10, 1_000, 100_000)
    batches: int = 100
    accounts: int = 20_000
    queue_sizes: tuple[int, ...] = (10, 1_000)
    lease_sizes: tuple[int, ...] = (1_000, 10_000)
    memory_accounts: int = 100_000
    memory_leases: int = 2_000
    memory_waiters: int = 2_000
    memory_threads: int = 50
    task_counts: tuple[int, ...] = (1, 10, 100, 1_000)
    task_cycles: int = 2_000
    task_waiters: int = 10_000
    storm: int = 50
    batch_sizes: tuple[int, ...] = (10, 100)
    batch_rounds: int = 10
    stripes: int = 8
    striped_accounts: int = 32
    striped_workers: int = 64
    striped_seconds: float = 3.0
    primaries: int = 3
    cluster_pools: int = 24
    cluster_rounds: int = 15
    cluster_cycles: int = 10


THOROUGH = {
    "rounds": 60, "cycles": 200, "contended_rounds": 10, "flat_out_rounds": 5, "flat_out_seconds": 2.0,
    "handoff_rounds": 5, "handoff_seconds": 5.0, "crowd_seconds": 2.0, "crowd_rounds": 3,
    "pool_sizes": (10, 1_000, 100_000, 1_000_000), "batches": 300, "accounts": 100_000,
    "queue_sizes": (10, 1_000, 10_000), "lease_sizes": (1_000, 10_000, 100_000), "memory_leases": 20_000,
    "memory_waiters": 10_000, "memory_threads": 200, "task_cycles": 10_000, "storm": 500,
    "batch_sizes": (10, 100, 500), "batch_rounds": 50, "striped_seconds": 20.0,
    "cluster_rounds": 100, "cluster_cycles": 20,
}  # fmt: skip
QUICK = {
    "rounds": 6, "cycles": 50, "contended_rounds": 1, "flat_out_rounds": 1, "flat_out_seconds": 0.4,
    "handoff_rounds": 1, "handoff_seconds": 0.8, "crowds": (1, 16, 256), "crowd_accounts": (1, 8),
    "crowd_seconds": 0.2, "pool_sizes": (10, 10_000), "batches": 40, "accounts": 5_000, "queue_sizes": (100,),
    "lease_sizes": (1_000,), "memory_accounts": 20_000, "memory_leases": 500, "memory_waiters": 500,
    "memory_threads": 20, "task_counts": (1, 100), "task_cycles": 500, "task_waiters": 2_000, "storm": 20,
    "batch_sizes": (100,), "batch_rounds": 5, "striped_seconds": 1.0, "cluster_pools": 12, "cluster_rounds": 5,
}  # fmt: skip
