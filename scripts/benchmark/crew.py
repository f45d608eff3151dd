"""Processes that contend for accounts: started before any clock, told what to do next over a pipe."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmark.peers import Contender, pool_in_tasks

if TYPE_CHECKING:
    from collections.abc import Iterable
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier
    from typing import Self

    from benchmark.peers import Peer

_FORKS = multiprocessing.get_context("forkserver")  # a fork of ours would inherit locks that our threads hold
_FORKS.set_forkserver_preload([__name__])  # imports all of it once, not in every process
_START_TIMEOUT = 60.0  # seconds until all have reached the start
FOR_EVER = 300.0  # seconds; a peer that hangs ends the run
ANY_NUMBER = 10**9


@dataclass(frozen=True, slots=True)
class Job:
    """What the crew is to do.

    Attributes:
        peer: whose lock they contend for.
        contenders: how many, spread over the processes.
        cycles: after so many a contender is done,
        seconds: or after so long.
        hold: seconds that each holds the account.
        accounts: of the pool, if each contender is an asyncio task of redispool's; 0: each is a thread.
    """

    peer: Peer
    contenders: int
    cycles: int = ANY_NUMBER
    seconds: float = FOR_EVER
    hold: float = 0.0
    accounts: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """One contender's one possession of an account, by the clock that all processes of a machine share."""

    contender: int
    account: str
    asked: float
    acquired: float
    releasing: float
    released: float
    late: bool  # it began after the end


class Crew:
    """So many processes, each of which does what it is told when all are ready.

    Args:
        url: the server's.
        resource: the name of what they contend for.
        processes: how many.
    """

    def __init__(self, url: str, resource: str, processes: int) -> None:
        self._barrier = _FORKS.Barrier(processes)
        self._pipes: list[Connection] = []
        self._processes = []
        for number in range(processes):
            ours, theirs = _FORKS.Pipe()
            process = _FORKS.Process(target=_member, args=(number, url, resource, self._barrier, theirs), daemon=True)
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
        """Let all do the job at once; their turns in order, without those that began when the time was up."""
        try:
            for pipe in self._pipes:
                pipe.send(job)
            turns = [turn for pipe in self._pipes for turn in pipe.recv()]
        except (EOFError, OSError) as error:
            raise RuntimeError(f"a contender of {job.peer.name} has died; what it died of stands above") from error
        turns.sort(key=lambda turn: turn.acquired)
        return [turn for turn in turns if not turn.late] or turns


def rate(turns: list[Turn]) -> float:
    """Turns in a second, from the first to the end of the last."""
    return len(turns) / (turns[-1].released - turns[0].acquired)


def handoffs(turns: Iterable[Turn]) -> list[float]:
    """Seconds from each release to the return of the acquire that got the account, where it waited already."""
    of_account = defaultdict(list)
    for turn in turns:
        of_account[turn.account].append(turn)
    return [
        after.acquired - before.releasing
        for its_turns in of_account.values()
        for before, after in pairwise(its_turns)
        if after.asked < before.releasing
    ]


def _member(number: int, url: str, resource: str, barrier: Barrier, pipe: Connection) -> None:
    contenders: dict[tuple[str, int], Contender] = {}
    with ThreadPoolExecutor(max_workers=128) as threads:
        while True:
            try:
                job = pipe.recv()
            except EOFError:
                return
            mine = range(number, job.contenders, barrier.parties)
            if job.accounts:
                pipe.send(asyncio.run(_contend_in_tasks(mine, url, resource, job, barrier)))
                continue
            for one in mine:
                key = (job.peer.name, one)
                if key not in contenders:
                    contenders[key] = job.peer.open(url, resource)
                    contenders[key].acquire()  # connects, and loads the scripts
                    contenders[key].release()
            barrier.wait(_START_TIMEOUT)
            futures = [threads.submit(_contend, contenders[job.peer.name, one], one, job) for one in mine]
            pipe.send([turn for future in futures for turn in future.result()])


def _contend(contender: Contender, identity: int, job: Job) -> list[Turn]:
    turns: list[Turn] = []
    clock = time.monotonic
    end = clock() + job.seconds
    while len(turns) < job.cycles and (asked := clock()) < end:
        account = contender.acquire()
        acquired = clock()
        if job.hold and acquired < end:
            time.sleep(job.hold)
        releasing = clock()
        contender.release()
        turns.append(Turn(identity, _name(account), asked, acquired, releasing, clock(), acquired > end))
    return turns


def _name(account: object) -> str:
    """The account's name; a peer that has no accounts says something else, or nothing."""
    return account if isinstance(account, str) else ""


async def _contend_in_tasks(mine: range, url: str, resource: str, job: Job, barrier: Barrier) -> list[Turn]:
    clock = time.monotonic
    turns: list[Turn] = []
    async with pool_in_tasks(url, resource, job.accounts) as pool:
        await (await pool.acquire_account()).release()

        async def contend(identity: int) -> None:
            while (asked := clock()) < end:
                handle = await pool.acquire_account()
                acquired = clock()
                if job.hold and acquired < end:
                    await asyncio.sleep(job.hold)
                releasing = clock()
                await handle.release()
                turns.append(Turn(identity, handle.name, asked, acquired, releasing, clock(), acquired > end))

        barrier.wait(_START_TIMEOUT)
        end = clock() + job.seconds
        async with asyncio.TaskGroup() as group:
            for one in mine:
                group.create_task(contend(one))
    return turns
