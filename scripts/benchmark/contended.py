"""Many clients on one account: how fast it goes round, how soon it is handed over, and how fairly."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmark.crew import Crew, Job, handoffs, rate
from benchmark.peers import (
    CONTENDED,
    PY_REDIS_SEMAPHORE,
    PYTHON_REDIS_LOCK,
    REDIS_PY_LOCK,
    REDISPOOL,
    TWO_SCRIPTS,
    shuffled,
)
from benchmark.report import Figure, Target, figure, jain, percentile

if TYPE_CHECKING:
    from benchmark.peers import Peer
    from benchmark.settings import Settings

_TRIPS = 100
_WARM_UP = 3  # turns
_TARGETS = {PYTHON_REDIS_LOCK: Target(1.5), PY_REDIS_SEMAPHORE: Target(4), REDIS_PY_LOCK: Target(13)}
_BLOCKING = (REDISPOOL, PYTHON_REDIS_LOCK, PY_REDIS_SEMAPHORE)  # the others poll: they hand nothing over


def measure(settings: Settings) -> list[Figure]:
    """The figures of contention, the peers by turns in the same processes."""
    figures = []
    for processes in settings.spreads:
        with Crew(settings.url, f"{settings.prefix}:contended", processes) as crew:
            _connect(crew, settings)
            figures += _quotas(crew, settings, processes)
    with Crew(settings.url, f"{settings.prefix}:contended", settings.contenders) as crew:
        _connect(crew, settings)
        return [*figures, *_flat_out(crew, settings), *_handoffs(crew, settings)]


def _connect(crew: Crew, settings: Settings) -> None:
    for peer in CONTENDED:
        crew.work(Job(peer, settings.contenders, cycles=1))


def _quotas(crew: Crew, settings: Settings, processes: int) -> list[Figure]:
    """Each contender has so many turns to take; the clock stops when the last one has taken its last.

    Spread over few processes, their threads share caches, and an interpreter; over many, what counts is how much each
    peer's processes compete for the machine's cores.
    """
    rates = defaultdict(list)
    for _ in range(settings.contended_rounds):
        for peer in shuffled(CONTENDED):
            crew.work(Job(peer, settings.contenders, cycles=_WARM_UP))
            rates[peer].append(rate(crew.work(Job(peer, settings.contenders, cycles=settings.quota))))
    spread = f"{processes} process{'' if processes == 1 else 'es'}"
    group = f"{settings.contenders} contenders in {spread}, {settings.quota} turns each: speed against"
    return [
        figure(
            group, peer.name, [a / b for a, b in zip(rates[REDISPOOL], rates[peer], strict=True)],
            target=_TARGETS.get(peer),
        )
        for peer in CONTENDED
        if peer is not REDISPOOL
    ]  # fmt: skip


def _flat_out(crew: Crew, settings: Settings) -> list[Figure]:
    """All take as many turns as they can get; a lock that lets its last holder in again is fast, and unfair."""
    rates, changed = defaultdict(list), defaultdict(list)
    for _ in range(settings.flat_out_rounds):
        for peer in shuffled(CONTENDED):
            turns = crew.work(Job(peer, settings.contenders, seconds=settings.flat_out_seconds))
            rates[peer].append(rate(turns))
            changed[peer].append(sum(one.contender != next_.contender for one, next_ in pairwise(turns)) / len(turns))
    speed = f"{settings.contenders} contenders, as many turns as they get: speed against"
    share = "turns that went to another contender"
    return [
        *(
            figure(speed, peer.name, [a / b for a, b in zip(rates[REDISPOOL], rates[peer], strict=True)])
            for peer in CONTENDED
            if peer is not REDISPOOL
        ),
        *(figure(share, peer.name, changed[peer], "") for peer in CONTENDED),
    ]


def _round_trip(settings: Settings, rest: float) -> float:
    """Seconds of one uncontended round trip just now, from a client that rests before each."""
    floor = TWO_SCRIPTS.open(settings.url, f"{settings.prefix}:trip")
    floor.acquire()
    times = []
    for _ in range(_TRIPS):
        time.sleep(rest)
        start = time.perf_counter()
        floor.acquire()
        times.append(time.perf_counter() - start)
    return percentile(times, 50)


@dataclass(frozen=True, slots=True)
class Handoff:
    """What one watch of hand-offs gave; p50 and p99 in round trips of a client that rests as long as the holders do."""

    p50: float
    p99: float
    p99_busy: float  # in round trips of a client that never rests, whose caches are warm
    jain: float
    longest: float  # wait, in mean waits


def _watch(crew: Crew, settings: Settings, peer: Peer) -> Handoff:
    """Each holds the account for a moment, so that all others wait at rest when it is released."""
    rested, busy = _round_trip(settings, settings.hold), _round_trip(settings, 0)
    turns = crew.work(Job(peer, settings.waiters, seconds=settings.handoff_seconds, hold=settings.hold))
    settled = turns[settings.waiters :] or turns  # all rush in at the start: that is no hand-off at rest
    times = handoffs(settled) or handoffs(turns)
    p50, p99 = percentile(times, 50), percentile(times, 99)
    counts = Counter(turn.contender for turn in turns)
    shares = [*counts.values(), *[0] * (settings.waiters - len(counts))]
    waits = [turn.acquired - turn.asked for turn in settled]
    return Handoff(p50 / rested, p99 / rested, p99 / busy, jain(shares), max(waits) * len(waits) / sum(waits))


def _handoffs(crew: Crew, settings: Settings) -> list[Figure]:
    watched = defaultdict(list)
    for _ in range(settings.handoff_rounds):
        for peer in shuffled(_BLOCKING):
            watched[peer].append(_watch(crew, settings, peer))

    def figures(group: str, attribute: str, target: Target | None, peers: tuple[Peer, ...] = _BLOCKING) -> list[Figure]:
        return [
            figure(group, peer.name, [getattr(one, attribute) for one in watched[peer]], "",
                   target if peer is REDISPOOL else None)
            for peer in peers
        ]  # fmt: skip

    group = f"hand-off to one of {settings.waiters} waiters at rest"
    return [
        *figures(f"{group}, p50 in round trips from rest", "p50", None),
        *figures(f"{group}, p99 in round trips from rest", "p99", Target(5, at_most=True)),
        *figures(f"{group}, p99 in round trips without rest", "p99_busy", Target(5, at_most=True), (REDISPOOL,)),
        *figures(f"Jain's index over {settings.waiters} waiters", "jain", Target(0.99)),
        *figures(f"longest wait over the mean, {settings.waiters} waiters", "longest", None),
    ]
