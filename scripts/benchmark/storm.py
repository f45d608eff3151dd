"""Many processes start at the same time, each connects and takes its turn: how long until all of them have had it."""

from __future__ import annotations

import multiprocessing
import os
import time
from typing import TYPE_CHECKING, NoReturn

import redis

from benchmark.report import Figure, Target, figure, percentile
from benchmark.server import Counters
from redispool import Account, AccountPool

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from benchmark.settings import Settings

_ACCOUNTS = 8
_SPAWN = multiprocessing.get_context("spawn")


def measure(settings: Settings) -> list[Figure]:
    """The figures of the storm; the processes are forked with redispool loaded, as a worker's are."""
    name = f"{settings.prefix}:storm"
    accounts = [Account(f"account-{number}", "a secret") for number in range(_ACCOUNTS)]
    AccountPool(accounts, name=name, namespace=settings.prefix, redis=settings.url)
    reading, writing = _SPAWN.Pipe(duplex=False)
    with redis.Redis.from_url(settings.url) as observer:
        before = Counters.read(observer)
        process = _SPAWN.Process(target=_storm, args=(settings, name, writing))
        process.start()
        writing.close()
        try:
            waits = reading.recv()
        except EOFError as error:
            raise RuntimeError("the storm has died; what it died of stands above") from error
        finally:
            process.join()
        cpu = Counters.read(observer).since(before).cpu
    group = f"{settings.storm} processes start at once, for {_ACCOUNTS} accounts"
    return [
        figure(group, "that had their turn", [float(len(waits))], "", Target(settings.storm)),
        figure(group, "seconds until the median one had its account", [percentile(waits, 50)], "s"),
        figure(group, "seconds until the last one had it", [max(waits)], "s"),
        figure(group, "server CPU of a process, its connections included", [cpu / settings.storm * 1000], "ms"),
    ]


def _storm(settings: Settings, name: str, answer: Connection) -> None:
    start_reading, start_writing = os.pipe()
    results_reading, results_writing = os.pipe()
    children = []
    for _ in range(settings.storm):
        child = os.fork()
        if child == 0:
            os.close(start_writing)
            _be_a_worker(settings, name, start_reading, results_writing)
        children.append(child)
    os.close(results_writing)
    start = time.monotonic()
    os.close(start_writing)  # all of them see it at once
    with os.fdopen(results_reading) as results:
        answer.send([float(line) - start for line in results])
    for child in children:
        os.waitpid(child, 0)


def _be_a_worker(settings: Settings, name: str, start: int, results: int) -> NoReturn:
    """Wait for the start, take one turn, tell when the account came, and end."""
    began = time.monotonic()
    try:
        os.read(start, 1)
        began = time.monotonic()
        pool = AccountPool(name=name, namespace=settings.prefix, redis=settings.url)
        with pool.lease():
            had_it = time.monotonic()
        os.write(results, f"{had_it}\n".encode())
    except BaseException as error:  # noqa: BLE001 - it must not go on as its parent would
        os.write(2, f"of the storm: {error!r} after {time.monotonic() - began:.1f} s\n".encode())
    os._exit(0)
