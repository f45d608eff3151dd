"""What the judge makes of his record. All times are seconds of CLOCK_MONOTONIC."""

from __future__ import annotations

import bisect
import json
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fleet.faults import MACHINES, NETWORK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MARGIN = 1.0  # seconds in which a request surely is at the server, and a fault no longer felt
_ENDINGS = {"released", "expired", "returned", "revoked", "reset"}


@dataclass(slots=True)
class Use:
    """An account in the hands of a worker, as he tells it.

    Attributes:
        until: to when his lease is valid at least.
        end: when he left off; None: he was stopped before.
    """

    owner: str
    account: str
    begin: float
    until: float
    end: float | None = None


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


def worker_of(owner: str) -> str:
    return owner.partition(".")[0]


@dataclass(slots=True)
class Record:
    """What the judge wrote down."""

    asks: dict[str, Ask] = field(default_factory=dict)
    uses: dict[str, Use] = field(default_factory=dict)
    killed: dict[str, float] = field(default_factory=dict)
    proxied: set[str] = field(default_factory=set)
    abandoned: list[tuple[str, float]] = field(default_factory=list)
    trail: list[dict[str, Any]] = field(default_factory=list)
    felt: list[Felt] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    held: list[tuple[str, float]] = field(default_factory=list)  # by a task that had been cancelled
    over: float = 0.0  # when the fleet was dismissed
    last: float = 0.0

    def add(self, line: dict[str, Any]) -> None:
        self.last = max(self.last, line["at"])
        getattr(self, "on_" + line["event"])(line)

    def on_ask(self, line: dict[str, Any]) -> None:
        self.asks[line["owner"]] = Ask(line["owner"], line["at"], line["want"])

    def on_begin(self, line: dict[str, Any]) -> None:
        self.uses[line["owner"]] = Use(line["owner"], line["account"], line["at"], line["until"])

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
        self.abandoned.append((line["account"], line["end"]))

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


def read(path: Path) -> Record:
    """The judge's record; a line that was cut is skipped."""
    record = Record()
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            record.add(json.loads(line))
    return record


# -- one holder ------------------------------------------------------------------------------------------------------


def double_uses(record: Record, sessions: Mapping[str, int]) -> list[str]:
    """Where more workers used an account, each within his valid lease, than may."""
    moments: dict[str, list[tuple[float, int, str]]] = defaultdict(list)
    for use in record.uses.values():
        left_off = use.end or record.killed.get(worker_of(use.owner), record.last)
        end = min(left_off, use.until)
        if end > use.begin:
            moments[use.account] += [(use.begin, 1, use.owner), (end, 0, use.owner)]
    found = []
    for account, steps in moments.items():
        using: set[str] = set()
        for at, begins, owner in sorted(steps):
            (using.add if begins else using.discard)(owner)
            if begins and len(using) > sessions[account]:
                found.append(f"{account} at {at:.3f}: {sorted(using)}")
    return found


def double_grants(record: Record, sessions: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """By the audit trail: accounts granted while all seats were held, and requests that were answered twice."""
    held: dict[str, set[int]] = defaultdict(set)
    owners: dict[str, set[int]] = defaultdict(set)
    granted_twice, answered_twice = [], []
    for line in record.trail:
        account, owner, fence = line["account"], line["owner"], line["fence"]
        if line["what"] == "granted":
            held[account].add(fence)
            owners[owner].add(fence)
            if len(held[account]) > sessions[account]:
                granted_twice.append(f"{account}, fences {sorted(held[account])}")
            if len(owners[owner]) > 1 and owner in record.asks:
                answered_twice.append(f"{owner}, fences {sorted(owners[owner])}")
        elif line["what"] in _ENDINGS:
            held[account].discard(fence)
            owners[owner].discard(fence)
    return granted_twice, answered_twice


# -- abandoned accounts ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Away:
    """Seconds for which abandoned accounts were away beyond their TTL, until they were granted to the next worker."""

    quiet: list[float] = field(default_factory=list)
    in_outages: list[float] = field(default_factory=list)  # while nobody could reach the server
    to_the_dead: int = 0  # grants to waiters who had died less than three slices before: these are away for a TTL more


def abandoned(record: Record, sessions: Mapping[str, int]) -> Away:
    """How long abandoned accounts were away."""
    grants: dict[str, list[float]] = defaultdict(list)
    away = Away()
    for line in record.trail:
        if line["what"] == "granted":
            grants[line["account"]].append(line["at"])
            away.to_the_dead += line["at"] > record.killed.get(worker_of(line["owner"]), record.last)
    outages = [felt for felt in record.felt if felt.by == "all"]
    for account, end in record.abandoned:
        following = bisect.bisect_left(grants[account], end - 0.01)
        if sessions[account] != 1 or end > record.over - MARGIN or following == len(grants[account]):
            continue
        back = grants[account][following]
        met = any(felt.start - 0.1 <= back and felt.end + MARGIN >= end for felt in outages)
        (away.in_outages if met else away.quiet).append(max(back - end, 0.0))
    return away


# -- order -----------------------------------------------------------------------------------------------------------


def orders(record: Record) -> tuple[list[str], int]:
    """Who was overtaken by one who asked more than MARGIN later, though no fault hit him; how many waited so long."""
    broken, compared = [], 0
    for served in _served(record):
        latest: Ask | None = None
        for at, ask in served:
            if latest is not None and latest.at > ask.at + MARGIN:
                if not _disturbed(record, ask, at):
                    broken.append(f"{ask.owner} was overtaken by {latest.owner}")
            elif at > ask.at + MARGIN:
                compared += 1
            if latest is None or ask.at > latest.at:
                latest = ask
    return broken, compared


def _served(record: Record) -> Iterable[list[tuple[float, Ask]]]:
    """For each thing that was wanted: the requests for it in the order of their first grants, and when these were."""
    granted: dict[str, float] = {}
    for line in record.trail:
        if line["what"] == "granted":
            granted.setdefault(line["owner"], line["at"])
    by_want: dict[str, list[tuple[float, Ask]]] = defaultdict(list)
    for owner, at in granted.items():
        if owner in record.asks:
            by_want[record.asks[owner].want].append((at, record.asks[owner]))
    return by_want.values()


def _disturbed(record: Record, ask: Ask, until: float) -> bool:
    worker = worker_of(ask.owner)
    concerned = {"all", worker} | ({"proxied"} if worker in record.proxied else set())
    return any(one.by in concerned and one.start <= until and one.end + MARGIN >= ask.at for one in record.felt)


# -- all of it -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run has shown."""

    seconds: float
    faults: dict[str, int]
    requests: int
    uses: int
    double_uses: list[str]
    granted_twice: list[str]
    answered_twice: list[str]
    orders_broken: list[str]
    waited_in_line: int
    accounts_lost: int
    disagreements: list[str]
    held_after_cancellation: list[str]
    crashes: list[str]
    abandoned: int
    longest_away: float
    median_away: float
    longest_away_in_outages: float
    granted_to_the_dead: int
    told: dict[str, int]

    @property
    def passed(self) -> bool:
        """Whether nothing happened that must not."""
        return not any((
            self.double_uses, self.granted_twice, self.answered_twice, self.orders_broken, self.accounts_lost,
            self.disagreements, self.held_after_cancellation, self.crashes,
        ))  # fmt: skip

    @property
    def injected(self) -> int:
        """How many faults there were, without those that workers made themselves."""
        return sum(self.faults.values())

    def document(self) -> dict[str, Any]:
        """All of it, for JSON; of what went wrong, the first fifty."""
        found = {name: value[:50] if isinstance(value, list) else value for name, value in asdict(self).items()}
        return {"passed": self.passed, "injected": self.injected, **found}


def judge(record: Record, sessions: Mapping[str, int], lost: int, disagreements: Iterable[str]) -> Verdict:
    """The verdict.

    Args:
        record: the judge's.
        sessions: how many may use each account.
        lost: accounts that could not be had in the end.
        disagreements: what the audit found in the end.
    """
    granted_twice, answered_twice = double_grants(record, sessions)
    broken, compared = orders(record)
    away = abandoned(record, sessions)
    quiet = sorted(away.quiet)
    told = {name: n for name, n in sorted(record.counts.items()) if ": " in name or name.startswith("held")}
    begun = min((ask.at for ask in record.asks.values()), default=record.last)
    return Verdict(
        seconds=record.last - begun,
        faults={name: n for name, n in sorted(record.counts.items()) if name not in told},
        requests=len(record.asks),
        uses=len(record.uses),
        double_uses=double_uses(record, sessions),
        granted_twice=granted_twice,
        answered_twice=answered_twice,
        orders_broken=broken,
        waited_in_line=compared,
        accounts_lost=lost,
        disagreements=list(disagreements),
        held_after_cancellation=[owner for owner, at in record.held if not _disturbed(record, record.asks[owner], at)],
        crashes=record.crashes,
        abandoned=len(quiet) + len(away.in_outages),
        longest_away=quiet[-1] if quiet else 0.0,
        median_away=quiet[len(quiet) // 2] if quiet else 0.0,
        longest_away_in_outages=max(away.in_outages, default=0.0),
        granted_to_the_dead=away.to_the_dead,
        told=told,
    )
