"""What is done to the fleet and its server, when, and to whom: all of it follows from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# how often, of a hundred; what it does: see injector.py
WEIGHTS = {
    "kill": 47.2,  # SIGKILL of a worker
    "stop": 8,  # SIGSTOP for longer than the TTL, then SIGCONT
    "interrupt": 12,  # SIGINT
    "fork": 3,  # a worker forks while it holds an account; the child goes on with the parent's pool
    "client kill": 4,  # CLIENT KILL of every connection
    "pause": 3,  # CLIENT PAUSE
    "sleep": 3,  # DEBUG SLEEP
    "flush scripts": 4,  # SCRIPT FLUSH
    "restart": 1,  # SIGKILL of the server, which synced its file at every write, and a new one
    "everysec": 1,  # the same, after a time in which it synced its file once a second
    "no file": 0.5,  # the same, and its file is gone
    "flush all": 0.5,  # FLUSHALL
    "out of memory": 2,  # maxmemory is reached
    "read only": 1.5,  # the server becomes a replica, and then a primary again
    "clock": 0.3,  # the server's clock is set some minutes ahead, and then back
    "delay": 3,  # the proxy delays each reply
    "cut": 3,  # the proxy closes all connections
    "swallow": 4,  # the proxy loses the reply of the next script, after it was run
    "black hole": 1,  # the proxy swallows everything, and then closes
}
LOSSES = frozenset({"everysec", "no file", "flush all"})  # the server may forget leases that it has told of
VOIDING = LOSSES | {"clock"}  # no lease from before is worth anything after
MACHINES = VOIDING | {"pause", "sleep", "restart", "client kill", "out of memory", "read only"}  # faults that all feel
NETWORK = frozenset({"delay", "cut", "swallow", "black hole"})  # faults that those behind the proxy feel


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        at: seconds after the start.
        kind: see WEIGHTS.
        victim: the place in the fleet of the worker that it hits, for those that hit one.
        seconds: how long it lasts.
    """

    at: float
    kind: str
    victim: int
    seconds: float


def schedule(seed: int, rate: float, workers: list[str], ttl: float) -> Iterator[Fault]:
    """The faults of a seed, without end.

    Args:
        seed: the same seed gives the same faults.
        rate: faults a second.
        workers: the kind of each worker.
        ttl: the pool's, in seconds.
    """
    dice = random.Random(f"faults of {seed}")
    at = 0.5
    alone = [place for place, kind in enumerate(workers) if kind == "alone"]
    forking = [place for place, kind in enumerate(workers) if kind != "tasks"]  # an event loop does not survive it
    while True:
        at += dice.expovariate(rate)
        (kind,) = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
        victim = dice.choice({"interrupt": alone, "fork": forking}.get(kind) or range(len(workers)))
        longest = {"stop": 3 * ttl, "pause": 0.6, "sleep": 0.8, "restart": 0.8, "black hole": 2 * ttl}.get(kind, 1.0)
        shortest = 1.2 * ttl if kind == "stop" else 0.05
        yield Fault(at, kind, victim, dice.uniform(shortest, longest))
