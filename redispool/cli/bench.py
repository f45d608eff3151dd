"""The command bench: how quick the server in use is, and how fair."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import redis
import typer
from rich.console import Group
from rich.text import Text

from redispool import Account
from redispool.cli.options import NAMESPACE, JsonOption, NamespaceOption, UrlOption
from redispool.cli.site import Report, Site
from redispool.cli.tables import table
from redispool.private_pool import private_name
from redispool.protocol.keys import PoolKeys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redispool.pool import AccountPool

_PERCENTILES = (50, 95, 99)
_ROUND_TRIPS = 200
_HOLD = 0.002  # seconds; so that the others are at rest when an account is handed on


@dataclass(frozen=True, slots=True)
class _Turn:
    """One worker's one use of an account; times by the monotonic clock."""

    worker: int
    account: str
    asked: float
    acquired: float
    releasing: float


def bench(
    ctx: typer.Context,
    seconds: Annotated[float, typer.Option(min=0.1, max=60.0, help="How long each of the three measures takes.")] = 2.0,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Threads that compete for the accounts.")] = 4,
    accounts: Annotated[int, typer.Option(min=1, max=1000, help="Accounts that they share.")] = 2,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Measure how long it takes to lease an account and give it back: alone, with others, and waiting in line.

    On the server in use, in a pool of its own that is gone afterwards; it measures this host and the network as well.

    JSON: an object with round_trip (milliseconds of the shortest command, p50), and alone, together and waiting, each
    with turns, turns_a_second, percentiles in milliseconds (p50, p95, p99) of the time to get an account, and server
    (milliseconds of a turn in the server's scripts, those of others meanwhile included; null where it does not tell).
    Waiting has those of the time from a release to the return of the next one's acquire as well (handoff_p50, ...;
    null where nobody had to wait), jain (Jain's index of fairness; 1: all had the same), and longest_wait (the
    longest in means).
    """
    site, report = Site.at(url, namespace), Report(ctx, as_json)
    pool = site.new_pool(private_name())
    try:
        pool.add_account([Account(f"bench-{number}") for number in range(accounts)])
        document: dict[str, Any] = {"round_trip": _round_trip(site, pool)}
        for name, threads, hold in (("alone", 1, 0.0), ("together", workers, 0.0), ("waiting", workers, _HOLD)):
            before = _script_time(site)
            turns = _compete(pool, seconds, threads, hold)
            document[name] = _figures(turns) | {"server": _per_turn(before, _script_time(site), len(turns))}
        document["waiting"] |= _fairness(turns, workers)
    finally:
        pool.run(pool.operations.leave_no_trace())
    report.tell(document, lambda: _picture(document, workers, accounts))


def _round_trip(site: Site, pool: AccountPool) -> float:
    """Milliseconds of a command that does nothing."""
    key = PoolKeys(site.namespace, pool.name).meta
    times = []
    for _ in range(_ROUND_TRIPS):
        start = time.perf_counter()
        site.client.exists(key)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def _compete(pool: AccountPool, seconds: float, workers: int, hold: float) -> list[_Turn]:
    """Let so many threads take turns for so long; the turns."""
    end = time.monotonic() + seconds
    turns: list[_Turn] = []
    failures: list[Exception] = []

    def work(worker: int) -> None:
        try:
            while (asked := time.monotonic()) < end:
                with pool.lease(timeout=seconds + 60.0) as account:
                    acquired = time.monotonic()
                    if hold:
                        time.sleep(hold)
                    turns.append(_Turn(worker, account.name, asked, acquired, time.monotonic()))
        except Exception as error:  # noqa: BLE001 - raised by who waits for the threads
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return turns


def _figures(turns: Sequence[_Turn]) -> dict[str, Any]:
    """How many turns that were, and how long it took to get an account."""
    span = max(turn.releasing for turn in turns) - min(turn.asked for turn in turns)
    waits = [turn.acquired - turn.asked for turn in turns]
    return {"turns": len(turns), "turns_a_second": len(turns) / span, **_percentiles("", waits)}


def _fairness(turns: Sequence[_Turn], workers: int) -> dict[str, Any]:
    """How soon an account was handed to the next in line, and whether all got as much."""
    of_account = defaultdict(list)
    for turn in sorted(turns, key=lambda turn: turn.acquired):
        of_account[turn.account].append(turn)
    handoffs = [
        after.acquired - before.releasing
        for its_turns in of_account.values()
        for before, after in pairwise(its_turns)
        if after.asked < before.releasing
    ]
    shares = Counter(turn.worker for turn in turns)
    waits = [turn.acquired - turn.asked for turn in turns]
    return {
        **_percentiles("handoff_", handoffs),
        "jain": len(turns) ** 2 / (workers * sum(share * share for share in shares.values())),
        "longest_wait": max(waits) / statistics.fmean(waits),
    }


def _percentiles(prefix: str, seconds: Sequence[float]) -> dict[str, float | None]:
    if not seconds:
        return {f"{prefix}p{percent}": None for percent in _PERCENTILES}
    cuts = statistics.quantiles([*seconds, *seconds], n=100, method="inclusive")  # twice, for it needs two at the least
    return {f"{prefix}p{percent}": cuts[percent - 1] * 1000 for percent in _PERCENTILES}


def _script_time(site: Site) -> float | None:
    """Milliseconds that the server has spent in scripts so far; None if it does not tell this user, or is a cluster."""
    if isinstance(site.client, redis.RedisCluster):
        return None
    try:
        found = site.client.info("commandstats")
    except redis.ResponseError:
        return None
    microseconds: int = sum(found.get(f"cmdstat_{name}", {}).get("usec", 0) for name in ("eval", "evalsha"))
    return microseconds / 1000


def _per_turn(before: float | None, after: float | None, turns: int) -> float | None:
    return None if before is None or after is None else (after - before) / turns


def _picture(document: dict[str, Any], workers: int, accounts: int) -> Group:
    crowd = f"{workers} threads, {accounts} accounts"
    held = f"the same, {_HOLD * 1000:.0f} ms each"
    rows = []
    for name, kind in (("one alone", "alone"), (crowd, "together"), (held, "waiting")):
        one = document[kind]
        waits = (_ms(one[f"p{percent}"]) for percent in _PERCENTILES)
        rows.append((name, one["turns"], f"{one['turns_a_second']:.0f}", *waits, _ms(one["server"])))
    waiting = document["waiting"]
    lines = [f"A round trip takes {_ms(document['round_trip'])}."]
    if waiting["handoff_p50"] is not None:
        shown = ", ".join(f"p{p} {_ms(waiting[f'handoff_p{p}'])}" for p in _PERCENTILES)
        lines.append(f"From a release to the next one's acquire: {shown}.")
    lines.append(
        f"Jain's index {waiting['jain']:.3f}; the longest wait was {waiting['longest_wait']:.1f} times the mean."
    )
    columns = ["", "#Turns", "#A second", *(f"#p{p}" for p in _PERCENTILES), "#Server"]
    return Group(table(columns, rows), Text("\n".join(lines)))


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} ms"
