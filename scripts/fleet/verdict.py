"""What the judge makes of his record. All times are seconds of CLOCK_MONOTONIC."""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fleet.faults import LOSSES
from fleet.record import Ask, Record, Use, worker_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MARGIN = 1.0  # seconds in which a request surely is at the server, and a fault no longer felt
ROUGH = 0.05  # seconds by which the clocks of two observers may seem to differ
_ENDINGS = {"released", "expired", "returned", "revoked", "reset"}


# -- one holder ------------------------------------------------------------------------------------------------------


def double_uses(record: Record, sessions: Mapping[str, int]) -> list[str]:
    """Where more workers used an account, each within his valid lease, than may."""
    moments: dict[str, list[tuple[float, int, str]]] = defaultdict(list)
    for use in record.uses.values():
        end = min(_left_off(record, use), _valid_until(record, use))
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


def _left_off(record: Record, use: Use) -> float:
    return use.end or record.killed.get(worker_of(use.owner), record.last)


def _valid_until(record: Record, use: Use) -> float:
    """Until when a lease is worth anything: not beyond a fault that voided what was granted or renewed before."""
    asked = use.until - record.ttl
    return min([use.until, *(void.start for void in record.voids if asked < void.done and void.start < use.until)])


def stale_uses(record: Record, sessions: Mapping[str, int]) -> tuple[list[str], int]:
    """Who went on with a lease that was void beside one who did not have a higher fence; how many went on at all.

    The fences themselves are lost with the server's memory, so only where that stayed can they be compared.
    """
    found, beside = [], 0
    by_account: dict[str, list[Use]] = defaultdict(list)
    for use in record.uses.values():
        if sessions[use.account] == 1:
            by_account[use.account].append(use)
    forgot = [void for void in record.voids if void.kind in LOSSES]
    for uses in by_account.values():
        uses.sort(key=lambda use: use.begin)
        for older, newer in itertools.pairwise(uses):
            until = min(older.until, _left_off(record, older))
            if newer.begin >= until or _valid_until(record, older) >= until:
                continue
            beside += 1
            if newer.fence <= older.fence and not any(
                older.begin - MARGIN < void.done and void.start < newer.begin for void in forgot
            ):
                found.append(f"{newer.owner} has fence {newer.fence}, and {older.owner} has {older.fence}")
    return found, beside


def double_grants(record: Record, sessions: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """By the audit trail: accounts granted while all seats were held, and requests that were answered twice."""
    held: dict[str, set[int]] = defaultdict(set)
    owners: dict[str, set[int]] = defaultdict(set)
    granted_twice, answered_twice = [], []
    lost = [void for void in record.voids if void.kind in LOSSES]
    for line in record.trail:
        if any(void.start - MARGIN <= line["at"] <= void.done + MARGIN for void in lost):
            held.clear()  # the server may have forgotten them, and the trail too
            owners.clear()
            continue
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
    rough = {line["at"] for line in record.trail if line.get("rough")}  # the clock was set, and these are guessed
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    away = Away()
    for line in record.trail:
        lines[line["account"]].append(line)
        if line["what"] == "granted":
            grants[line["account"]].append(line["at"])
            away.to_the_dead += line["at"] > record.killed.get(worker_of(line["owner"]), record.last)
    outages = [felt for felt in record.felt if felt.by == "all"]
    for account, end, seen in record.abandoned:
        if _given_back(lines[account], seen):
            continue
        following = bisect.bisect_left(grants[account], end - ROUGH)
        if sessions[account] != 1 or end > record.over - MARGIN or following == len(grants[account]):
            continue
        back = grants[account][following]
        met = back in rough or any(felt.start - 0.1 <= back and felt.end + MARGIN >= end for felt in outages)
        (away.in_outages if met else away.quiet).append(max(back - end, 0.0))
    return away


def _given_back(lines: list[dict[str, Any]], seen: float) -> bool:
    """Whether the release of an account whose holder was found dead had been on its way."""
    fence = next((line["fence"] for line in reversed(lines) if line["what"] == "granted" and line["at"] <= seen), None)
    ends = (line["what"] for line in lines if line["fence"] == fence and line["what"] in _ENDINGS and line["at"] > seen)
    return next(ends, "expired") != "expired"


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
    stale_uses: list[str]
    void_leases_used: int
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
            self.disagreements, self.stale_uses, self.held_after_cancellation, self.crashes,
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
    stale, beside = stale_uses(record, sessions)
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
        stale_uses=stale,
        void_leases_used=beside,
        held_after_cancellation=[owner for owner, at in record.held if not _disturbed(record, record.asks[owner], at)],
        crashes=record.crashes,
        abandoned=len(quiet) + len(away.in_outages),
        longest_away=quiet[-1] if quiet else 0.0,
        median_away=quiet[len(quiet) // 2] if quiet else 0.0,
        longest_away_in_outages=max(away.in_outages, default=0.0),
        granted_to_the_dead=away.to_the_dead,
        told=told,
    )
