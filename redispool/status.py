"""What a pool tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from redispool.protocol.oversight import hand_outs_a_second
from redispool.protocol.requests import CLEANUP
from redispool.terms import Policy, policy_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redispool.protocol.oversight import EventRow, Figures, QuarantineRow, WaiterRow

_RESERVED = "reserved: "


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """One lease of a pool; times in seconds since 1970 by the server's clock, `age` in seconds.

    `purpose` is '', 'cleanup' or 'reserved'; `note` is what was said when it was reserved.
    """

    account: str
    owner: str
    token: str
    fence: int
    acquired_at: float
    expires_at: float
    age: float
    purpose: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class QuarantineInfo:
    """An account that is out of the rotation: since when, in seconds since 1970, who put it there, and why."""

    account: str
    since: float
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """A pool at one instant: how many accounts it has, how many seats are in which state, and each lease.

    `quarantined` counts accounts; `to_clean` the seats that wait for a cleaner; `at` is the server's clock.
    """

    name: str
    accounts: int
    free: int
    held: int
    cooling: int
    quarantined: int
    waiting: int
    leases: tuple[LeaseInfo, ...]
    to_clean: int = 0
    quarantine: tuple[QuarantineInfo, ...] = ()
    policy: Policy | None = None
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class WaiterInfo:
    """One request that waits, and for how many seconds it will, if all goes on as of late (None: that cannot be told).

    `wants` is '' for any account, else its name or the labels; `count` is how many it wants at once.
    """

    owner: str
    token: str
    since: float
    wants: str
    count: int
    estimated_wait: float | None


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One thing that happened; `at` in seconds since 1970 by the server's clock.

    `event` is 'granted', 'released', 'expired', 'lost' (somebody set or removed its lock), 'revoked', 'returned' (as
    its caller was gone), 'bad', 'quarantined', 'restored' or 'reset'; or, where somebody administered the pool,
    'added', 'changed', 'renamed', 'removed', 'configured', 'reserved', 'resealed', 'routed' or 'unrouted' (a rule names
    it); 'unreadable' is what redispool did not write. `owner` is who held the account, or who did that; `token`, for
    who held an account, tells the host, the process and the user of the server, whatever owner was named; `waited` for
    how many seconds who was granted it had waited, None for other events.
    """

    at: float
    event: str
    account: str
    owner: str
    fence: int
    why: str
    token: str = ""
    waited: float | None = None


def status_of(pool: str, figures: Figures, out: Sequence[QuarantineRow]) -> PoolStatus:
    """The pool's status that the figures are."""
    leases = tuple(
        LeaseInfo(
            row.seat.partition("\t")[0],
            row.owner,
            row.token,
            row.fence,
            row.acquired_at,
            row.expires_at,
            max(figures.at - row.acquired_at, 0.0),
            "reserved" if row.purpose.startswith(_RESERVED) else row.purpose,
            row.purpose.removeprefix(_RESERVED) if row.purpose.startswith(_RESERVED) else "",
        )
        for row in figures.leases
    )
    quarantine = tuple(QuarantineInfo(row.account, row.since, row.by, row.reason) for row in out)
    return PoolStatus(
        pool,
        figures.accounts,
        figures.free,
        len(leases),
        figures.cooling,
        figures.quarantined,
        figures.waiting,
        leases,
        figures.to_clean,
        quarantine,
        policy_from(figures.policy),
        figures.at,
    )


def waiters_of(rows: Sequence[WaiterRow], events: Sequence[EventRow], now: float) -> list[WaiterInfo]:
    """Who waits, in the order of service, with what the last hand-outs tell of how long it will take."""
    rate = hand_outs_a_second(events, now)
    waiters, ahead = [], 0
    for row in rows:
        count = row.options.get("count", 1)
        ahead += count
        wants = "cleanup" if row.want == CLEANUP else row.want.strip("\t").replace("\t", " ")
        waiters.append(WaiterInfo(row.owner, row.token, row.since, wants, count, ahead / rate if rate else None))
    return waiters
