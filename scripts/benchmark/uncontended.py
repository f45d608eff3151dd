"""One client, nobody else: the cycle of acquire and release, by the clock, in client CPU and on the server."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import redis

from benchmark.peers import REDIS_PY_LOCK, REDISPOOL, TWO_SCRIPTS, UNCONTENDED, Peer, shuffled
from benchmark.report import Figure, Target, figure
from benchmark.server import Counters

if TYPE_CHECKING:
    from benchmark.peers import Contender
    from benchmark.settings import Settings

_WARM_UP = 20  # cycles
_TARGETS = {REDIS_PY_LOCK: Target(1.0), TWO_SCRIPTS: Target(0.85)}


@dataclass(frozen=True, slots=True)
class Sample:
    """What one cycle took; times in microseconds, counts on the server."""

    wall: float
    client_cpu: float
    server_cpu: float
    script_time: float
    scripts: float
    commands: float


Samples: TypeAlias = dict[Peer, list[Sample]]


def _sample(contender: Contender, cycles: int, observer: redis.Redis) -> Sample:
    for _ in range(_WARM_UP):  # another peer was on turn before
        contender.acquire()
        contender.release()
    before = Counters.read(observer)
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(cycles):
        contender.acquire()
        contender.release()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    server = Counters.read(observer).since(before)
    return Sample(
        wall / cycles * 1e6,
        cpu / cycles * 1e6,
        server.cpu / cycles * 1e6,
        server.script_microseconds / cycles,
        server.scripts / cycles,
        sum(server.calls.values()) / cycles,
    )


def measure(settings: Settings) -> list[Figure]:
    """The figures of an uncontended cycle, the peers by turns."""
    contenders = {peer: peer.open(settings.url, f"{settings.prefix}:uncontended") for peer in UNCONTENDED}
    samples: Samples = defaultdict(list)
    with redis.Redis.from_url(settings.url) as observer:
        for _ in range(settings.rounds):
            for peer in shuffled(UNCONTENDED):
                samples[peer].append(_sample(contenders[peer], settings.cycles, observer))
        traffic = _traffic(contenders[REDISPOOL], settings.cycles, observer)
    speed = [
        figure("uncontended: speed against", peer.name, _ratios(samples, peer, "wall"), target=_TARGETS.get(peer))
        for peer in UNCONTENDED
        if peer is not REDISPOOL
    ]
    return [*speed, *_costs(samples), *traffic]


def _traffic(contender: Contender, cycles: int, observer: redis.Redis) -> list[Figure]:
    """Bytes that a cycle sends and receives, without what the reading takes itself."""

    def read() -> list[int]:
        stats = observer.info("stats")
        return [stats["total_net_input_bytes"], stats["total_net_output_bytes"]]

    earlier, before = read(), read()
    for _ in range(cycles):
        contender.acquire()
        contender.release()
    counts = [(c - b - (b - a)) / cycles for a, b, c in zip(earlier, before, read(), strict=True)]
    own = "uncontended: one cycle of redispool"
    return [
        figure(own, f"bytes {way} the server", [count], "") for way, count in zip(("to", "from"), counts, strict=True)
    ]


def _ratios(samples: Samples, peer: Peer, attribute: str) -> list[float]:
    """What the peer needed, in what redispool needed in the same round."""
    return [
        getattr(theirs, attribute) / getattr(ours, attribute)
        for theirs, ours in zip(samples[peer], samples[REDISPOOL], strict=True)
    ]


def _costs(samples: Samples) -> list[Figure]:
    ours, floor = samples[REDISPOOL], samples[TWO_SCRIPTS]

    def times_floor(attribute: str) -> list[float]:
        return [1 / ratio for ratio in _ratios(samples, TWO_SCRIPTS, attribute)]

    group = "uncontended: cost in two trivial EVALSHA"
    own = "uncontended: one cycle of redispool"
    return [
        # this is what the prototype had 3.7 of; in scripts alone, anything is many times one that does nothing
        figure(group, "server CPU, network included", times_floor("server_cpu"), target=Target(3, at_most=True)),
        figure(group, "server time in scripts", times_floor("script_time")),
        figure(group, "client CPU", times_floor("client_cpu")),
        figure(own, "script calls", [one.scripts for one in ours], "", Target(2, at_most=True)),
        figure(own, "commands within the scripts", [one.commands - one.scripts for one in ours], ""),
        figure(own, "wall time", [one.wall for one in ours], "µs"),
        figure(own, "client CPU", [one.client_cpu for one in ours], "µs"),
        figure(own, "server CPU", [one.server_cpu for one in ours], "µs"),
        figure(own, "server CPU of two trivial EVALSHA", [one.server_cpu for one in floor], "µs"),
        figure(own, "server time in scripts", [one.script_time for one in ours], "µs"),
        figure(own, "time in scripts of two trivial EVALSHA", [one.script_time for one in floor], "µs"),
    ]
