"""Processes that contend for one account: started before any clock, told what to do next over a pipe."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.peers import CONTENDED, Contender

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier
    from typing import Self

_SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit locks that the parent's threads hold
_PEERS = {peer.name: peer for peer in CONTENDED}
_START_TIMEOUT = 60.0  # seconds until all have reached the start


@dataclass(frozen=True, slots=True)
class Job:
    """What each of the crew is to do.

    Attributes:
        peer: whose lock they contend for.
        threads: contenders in each process.
        cycles: after so many a contender is done,
        seconds: or after so long.
        hold: seconds that each holds the account.
    """

    peer: str
    threads: int
    cycles: int
    seconds: float
    hold: float


@dataclass(frozen=True, slots=True)
class Turn:
    """One contender's one possession of the account, by the clock that all processes of a machine share."""

    contender: tuple[int, int]
    acquired: float
    releasing: float
    released: float


class Crew:
    """So many processes, each of which does what it is told when all are ready.

    Args:
        url: the server's.
        resource: the name of what they contend for.
        processes: how many.
    """

    def __init__(self, url: str, resource: str, processes: int) -> None:
        self._barrier = _SPAWN.Barrier(processes)
        self._pipes: list[Connection] = []
        self._processes = []
        for number in range(processes):
            ours, theirs = _SPAWN.Pipe()
            process = _SPAWN.Process(target=_member, args=(number, url, resource, self._barrier, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for pipe in self._pipes:
            pipe.close()  # a member ends when nobody can tell it anything any more
        for process in self._processes:
            process.join(10)
            process.kill()

    def work(self, job: Job) -> list[Turn]:
        """Let all do the job at once; their turns in order."""
        try:
            for pipe in self._pipes:
                pipe.send(job)
            turns = [turn for pipe in self._pipes for turn in pipe.recv()]
        except (EOFError, OSError) as error:
            raise RuntimeError(f"a contender of {job.peer} has died; what it died of stands above") from error
        return sorted(turns, key=lambda turn: turn.acquired)


def _member(number: int, url: str, resource: str, barrier: Barrier, pipe: Connection) -> None:
    contenders: dict[tuple[str, int], Contender] = {}
    with ThreadPoolExecutor() as threads:
        while True:
            try:
                job = pipe.recv()
            except EOFError:
                return
            mine = []
            for thread in range(job.threads):
                key = (job.peer, thread)
                if key not in contenders:
                    contenders[key] = _PEERS[job.peer].open(url, resource)
                    contenders[key].acquire()  # connects, and loads the scripts
                    contenders[key].release()
                mine.append(contenders[key])
            barrier.wait(_START_TIMEOUT)
            futures = [threads.submit(_contend, one, (number, thread), job) for thread, one in enumerate(mine)]
            pipe.send([turn for future in futures for turn in future.result()])


def _contend(contender: Contender, identity: tuple[int, int], job: Job) -> list[Turn]:
    turns: list[Any] = []
    clock = time.monotonic
    end = clock() + job.seconds
    while len(turns) < job.cycles and clock() < end:
        contender.acquire()
        acquired = clock()
        if job.hold:
            time.sleep(job.hold)
        releasing = clock()
        contender.release()
        turns.append(Turn(identity, acquired, releasing, clock()))
    return turns
