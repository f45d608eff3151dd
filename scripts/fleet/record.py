"""What the judge wrote down, as one can ask it. All times are seconds of CLOCK_MONOTONIC."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fleet.faults import MACHINES, NETWORK, VOIDING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(slots=True)
class Use:
    """An account in the hands of a worker, as he tells it.

    Attributes:
        until: to when his lease is valid at least.
        end: when he left off; None: he was stopped before.
        fence: his lease's.
    """

    owner: str
    account: str
    begin: float
    until: float
    end: float | None = None
    fence: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """A request."""

    owner: str
    at: float
    want: str


@dataclass(frozen=True, slots=True)
class Felt:
    """How long a fault was felt, and by whom: 'all', 'proxied', or a worker."""

    kind: str
    start: float
    end: float
    by: str


@dataclass(frozen=True, slots=True)
class Void:
    """When leases became worthless, though nobody told their holders: some time between two moments."""

    kind: str
    start: float
    done: float


def worker_of(owner: str) -> str:
    return owner.partition(".")[0]


@dataclass(slots=True)
class Record:
    """What the judge wrote down."""

    asks: dict[str, Ask] = field(default_factory=dict)
    uses: dict[str, Use] = field(default_factory=dict)
    killed: dict[str, float] = field(default_factory=dict)
    proxied: set[str] = field(default_factory=set)
    abandoned: list[tuple[str, float, float]] = field(default_factory=list)  # account, end of its lock, seen when
    trail: list[dict[str, Any]] = field(default_factory=list)
    voids: list[Void] = field(default_factory=list)
    felt: list[Felt] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    held: list[tuple[str, float]] = field(default_factory=list)  # by a task that had been cancelled
    over: float = 0.0  # when the fleet was dismissed
    last: float = 0.0
    ttl: float = 0.0  # of a lease

    def add(self, line: dict[str, Any]) -> None:
        self.last = max(self.last, line["at"])
        getattr(self, "on_" + line["event"])(line)

    def on_ask(self, line: dict[str, Any]) -> None:
        self.asks[line["owner"]] = Ask(line["owner"], line["at"], line["want"])

    def on_begin(self, line: dict[str, Any]) -> None:
        fence = line.get("fence", 0)
        self.uses[line["owner"]] = Use(line["owner"], line["account"], line["at"], line["until"], fence=fence)

    def on_renewed(self, line: dict[str, Any]) -> None:
        self.uses[line["owner"]].until = line["until"]

    def on_end(self, line: dict[str, Any]) -> None:
        self.uses[line["owner"]].end = line["at"]

    def on_gone(self, line: dict[str, Any]) -> None:
        self.counts[f"told: {line['why']}"] += 1

    def on_mishap(self, line: dict[str, Any]) -> None:
        self.counts[f"in use: {line['why']}"] += 1

    def on_interrupted(self, line: dict[str, Any]) -> None:
        self.counts[f"while waiting: {line['why']}"] += 1
        if line["freed"]:
            self.counts[f"held after {line['why']}"] += 1
            if line["why"] == "cancelled":
                self.held.append((line["owner"], line["at"]))

    def on_born(self, line: dict[str, Any]) -> None:
        if line["proxied"]:
            self.proxied.add(line["worker"])

    def on_killed(self, line: dict[str, Any]) -> None:
        self.killed[line["worker"]] = line["at"]

    def on_abandoned(self, line: dict[str, Any]) -> None:
        self.abandoned.append((line["account"], line["end"], line["at"]))

    def on_start(self, line: dict[str, Any]) -> None:
        self.ttl = line["ttl"]

    def on_over(self, line: dict[str, Any]) -> None:
        self.over = line["at"]

    def on_crashed(self, line: dict[str, Any]) -> None:
        self.crashes.append(f"{line['worker']}: {line['why']}")

    def on_trail(self, line: dict[str, Any]) -> None:
        self.trail.append(line)

    def on_stall(self, line: dict[str, Any]) -> None:
        self.felt.append(Felt("stall", line["start"], line["at"], "all"))
        self.counts["stalls of the server: total"] += 1

    def on_fault(self, line: dict[str, Any]) -> None:
        kind = line["kind"]
        self.counts[kind] += 1
        by = "all" if kind in MACHINES else "proxied" if kind in NETWORK else line["worker"]
        if kind in MACHINES | NETWORK | {"stop"}:
            self.felt.append(Felt(kind, line["start"], line["end"], by))
        if kind in VOIDING:
            self.voids.append(Void(kind, line["start"], line["done"]))


def read(path: Path) -> Record:
    """The judge's record; a line that was cut is skipped."""
    record = Record()
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            record.add(json.loads(line))
    return record
