"""From one contender to a thousand, for one account to many: how many turns they take, and how soon one is handed on.

Up to `settings.waiters` they are threads of `settings.contenders` processes; beyond that, asyncio tasks of those.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from benchmark.crew import Crew, Job, Turn, handoffs, rate
from benchmark.peers import pool_of
from benchmark.report import Figure, figure, percentile

if TYPE_CHECKING:
    from benchmark.settings import Settings


def measure(settings: Settings) -> list[Figure]:
    """The figures of every crowd over every number of accounts."""
    rates, p50, p99 = defaultdict(list), defaultdict(list), defaultdict(list)
    cells = [(accounts, crowd) for accounts in settings.crowd_accounts for crowd in settings.crowds]
    with Crew(settings.url, f"{settings.prefix}:crowds", settings.contenders) as crew:
        for _ in range(settings.crowd_rounds):
            for cell in cells:
                accounts, crowd = cell
                rates[cell].append(rate(_work(crew, settings, cell, 0.0)))
                if crowd > accounts and (times := handoffs(_work(crew, settings, cell, settings.hold))):
                    p50[cell].append(percentile(times, 50) * 1000)
                    p99[cell].append(percentile(times, 99) * 1000)

    def figures(accounts: int, what: str, samples: dict[tuple[int, int], list[float]], unit: str) -> list[Figure]:
        return [
            figure(f"accounts: {accounts}; {what}", _name(settings, crowd), samples[accounts, crowd], unit)
            for crowd in settings.crowds
            if samples.get((accounts, crowd))
        ]

    return [
        one
        for accounts in settings.crowd_accounts
        for one in (
            *figures(accounts, "turns a second", rates, ""),
            *figures(accounts, "hand-off, p50", p50, "ms"),
            *figures(accounts, "hand-off, p99", p99, "ms"),
        )
    ]


def _work(crew: Crew, settings: Settings, cell: tuple[int, int], hold: float) -> list[Turn]:
    accounts, crowd = cell
    in_tasks = accounts if crowd > settings.waiters else 0
    return crew.work(Job(pool_of(accounts), crowd, seconds=settings.crowd_seconds, hold=hold, accounts=in_tasks))


def _name(settings: Settings, crowd: int) -> str:
    if crowd > settings.waiters:
        return f"{crowd} tasks of {settings.contenders} processes"
    return f"{crowd} threads of {min(crowd, settings.contenders)} processes"
