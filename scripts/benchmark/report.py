"""The figures of a run, as a table and as JSON."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import redis

    from benchmark.settings import Settings

_FORM = 2  # version of the JSON


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure is to reach."""

    bound: float
    at_most: bool = False

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"

    def met(self, value: float) -> bool:
        """Whether the figure reaches it."""
        return value <= self.bound if self.at_most else value >= self.bound


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: the median of its samples, and the quartiles around it.

    Attributes:
        group: what was measured.
        name: against what, or what of it.
        median: of the samples.
        low: their first quartile.
        high: their third.
        samples: how many there were.
        unit: 'x' for a ratio; above 1, redispool is the better one unless the target says 'at most'.
        target: what it is to reach, if that was laid down.
    """

    group: str
    name: str
    median: float
    low: float
    high: float
    samples: int
    unit: str
    target: Target | None


def figure(group: str, name: str, samples: Sequence[float], unit: str = "x", target: Target | None = None) -> Figure:
    """The figure that the samples give."""
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else [samples[0]] * 3
    return Figure(group, name, median, low, high, len(samples), unit, target)


def percentile(samples: Sequence[float], percent: int) -> float:
    """The value that so many percent of the samples do not exceed."""
    return sorted(samples)[min(len(samples) - 1, len(samples) * percent // 100)]


def jain(counts: Sequence[int]) -> float:
    """Jain's index of fairness: 1 when all had the same, 1/n when one had all."""
    return sum(counts) ** 2 / (len(counts) * sum(count * count for count in counts))


def table(figures: Sequence[Figure]) -> Table:
    """The figures for a person."""
    rows = Table("figure", title="redispool, measured side by side with its peers", title_justify="left")
    for heading in ("median", "quartiles", "target"):
        rows.add_column(heading, justify="right", no_wrap=True)
    group = None
    for one in figures:
        if one.group != group:
            rows.add_section()
            rows.add_row(f"[bold]{one.group}[/]")
        group = one.group
        spread = f"{_number(one.low)} to {_number(one.high)}" if one.samples > 1 else ""
        rows.add_row(f"  {one.name}", _median(one), spread, "" if one.target is None else str(one.target))
    return rows


def targets(figures: Sequence[Figure]) -> Table:
    """What was to be reached, beside what was."""
    rows = Table("figure", title="what was to be reached", title_justify="left")
    for heading in ("target", "seen", ""):
        rows.add_column(heading, justify="right", no_wrap=True)
    for one in figures:
        if one.target is not None:
            reached = one.target.met(one.median)
            rows.add_row(f"{one.group}: {one.name}", str(one.target), _median(one), "" if reached else "[red]missed[/]")
    return rows


def _median(one: Figure) -> str:
    text = f"{_number(one.median)} {one.unit}".strip()
    if one.target is None:
        return text
    return f"[{'green' if one.target.met(one.median) else 'red'}]{text}[/]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def document(figures: Sequence[Figure], settings: Settings, client: redis.Redis) -> dict[str, Any]:
    """The figures for a program, with what must be known to compare them with another run's."""
    server = client.info("server")
    packages = ("redispool", "redis", "hiredis", "python-redis-lock", "py-redis-semaphore", "pottery", "Exscript")
    left_out = {"url", "prefix"}  # the URL may hold a password
    return {
        "version": _FORM,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpus": os.cpu_count(), "load": os.getloadavg(), "python": platform.python_version()},
        "server": {
            "name": server.get("server_name", "redis"),
            "version": server.get("valkey_version", server["redis_version"]),
        },
        "packages": {name: _version(name) for name in packages},
        "settings": {f.name: getattr(settings, f.name) for f in fields(settings) if f.name not in left_out},
        "figures": [asdict(one) for one in figures],
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
