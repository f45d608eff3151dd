"""Asyncio: turns of one task to a thousand at one time, and what ten thousand that wait take."""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import time
from typing import TYPE_CHECKING

import redis

from benchmark.report import Figure, Target, figure
from benchmark.server import Counters
from redispool import Account
from redispool.asyncio import AccountPool

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from benchmark.settings import Settings

_CROWD_ACCOUNTS = 50
_ROUNDS = 3


def measure(settings: Settings) -> list[Figure]:
    """The figures of asyncio; the crowd waits in a process of its own, whose memory is its own."""
    turns = asyncio.run(_turns(settings))
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_crowd_in_process, args=(settings, theirs))
    process.start()
    theirs.close()
    try:
        return [*turns, *ours.recv()]
    except EOFError as error:
        raise RuntimeError("the process whose tasks wait has died; what it died of stands above") from error
    finally:
        process.join()


async def _turns(settings: Settings) -> list[Figure]:
    """As many accounts as tasks: nobody waits, and the commands of many go together."""
    rates: dict[int, list[float]] = {count: [] for count in settings.task_counts}
    client: dict[int, list[float]] = {count: [] for count in settings.task_counts}
    server: dict[int, list[float]] = {count: [] for count in settings.task_counts}
    accounts = [Account(f"account-{number}", "a secret") for number in range(max(settings.task_counts))]
    name = f"{settings.prefix}:tasks"
    with redis.Redis.from_url(settings.url) as observer:
        async with AccountPool(accounts, name=name, namespace=settings.prefix, redis=settings.url) as pool:
            await (await pool.acquire_account()).release()
            for _ in range(_ROUNDS):
                for count in settings.task_counts:
                    before, cpu, start = Counters.read(observer), time.process_time(), time.perf_counter()
                    each = max(settings.task_cycles // count, 1)
                    await asyncio.gather(*(_take_turns(pool, each) for _ in range(count)))
                    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
                    cycles = each * count
                    rates[count].append(cycles / seconds)
                    client[count].append(cpu / cycles * 1e6)
                    server[count].append(Counters.read(observer).since(before).cpu / cycles * 1e6)
    kinds = (
        ("cycles a second", rates, ""),
        ("client CPU of a cycle", client, "µs"),
        ("server CPU of a cycle", server, "µs"),
    )
    return [
        figure(f"asyncio, no task waits: {what}", f"{count:,} tasks at one time", samples[count], unit)
        for what, samples, unit in kinds
        for count in settings.task_counts
    ]


async def _take_turns(pool: AccountPool, turns: int) -> None:
    for _ in range(turns):
        await (await pool.acquire_account()).release()


def _crowd_in_process(settings: Settings, pipe: Connection) -> None:
    pipe.send(asyncio.run(_crowd(settings)))


async def _crowd(settings: Settings) -> list[Figure]:
    """All wait at once; then each has its turn."""
    count = settings.task_waiters
    name = f"{settings.prefix}:crowd"
    queue = f"{settings.prefix}:{{{name}}}:queue"
    accounts = [Account(f"account-{number}", "a secret") for number in range(_CROWD_ACCOUNTS)]
    with redis.Redis.from_url(settings.url) as observer:
        connected = len(observer.client_list())
        async with AccountPool(accounts, name=name, namespace=settings.prefix, redis=settings.url) as pool:
            held = [await pool.acquire_account() for _ in range(_CROWD_ACCOUNTS)]
            before = _megabytes()
            tasks = [asyncio.create_task(_take_turns(pool, 1)) for _ in range(count)]
            while observer.zcard(queue) < count:  # noqa: ASYNC110 - only the server knows
                await asyncio.sleep(0.01)
            connections = len(observer.client_list()) - connected
            start = time.perf_counter()
            for handle in held:
                await handle.release()
            await asyncio.gather(*tasks)
            seconds = time.perf_counter() - start
    group = f"{count:,} asyncio tasks that wait for {_CROWD_ACCOUNTS} accounts"
    return [
        figure(group, "connections", [float(connections)], "", Target(4, at_most=True)),
        figure(group, "memory of their process", [_megabytes()], "MB", Target(300, at_most=True)),
        figure(group, "memory of a task", [(_megabytes() - before) / count * 1000], "kB"),
        figure(group, "turns a second, once they are free", [count / seconds], ""),
    ]


def _megabytes() -> float:
    """The most that this process has had in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
