"""Looking at a pool, and ruling it: status, who waits, what happened; policy, health, reservations."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redispool.errors import ConfigError, NotHeld, ProtocolMismatch
from redispool.protocol import scripts
from redispool.protocol.commands import Flow, Plain
from redispool.protocol.foreign import understood
from redispool.protocol.keys import pools_key
from redispool.protocol.requests import Grant, read_grant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redispool.protocol.channel import PoolChannel

_PAGE = 1000
_EVENTS_PAGE = 500


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A lease as the server knows it; the purpose is '', 'cleanup', or 'reserved: NOTE'."""

    token: str
    seat: str
    owner: str
    fence: int
    acquired_at: float
    expires_at: float
    purpose: str


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """An account that is out of the rotation: since when, who said so, and why."""

    account: str
    since: float
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Figures:
    """A pool's figures at one instant; `at` by the server's clock."""

    at: float
    accounts: int
    free: int
    cooling: int
    waiting: int
    to_clean: int
    quarantined: int
    policy: Mapping[str, Any]
    leases: tuple[LeaseRow, ...]


@dataclass(frozen=True, slots=True)
class WaiterRow:
    """A request that waits; the lower the stamp, the sooner it is served."""

    token: str
    stamp: float
    owner: str
    since: float
    want: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EventRow:
    """One line of the audit trail; `waited`: seconds that who was granted an account had waited for it."""

    at: float
    event: str
    account: str
    owner: str
    fence: int
    why: str
    token: str = ""
    waited: float | None = None


class OversightFlows:
    """What shows and rules a pool.

    Args:
        channel: the pool's.
    """

    def __init__(self, channel: PoolChannel) -> None:
        self.channel = channel

    def inspect(self, *, leases: bool = True) -> Flow[Figures]:
        """The pool's figures and, if wanted, its leases, page by page."""
        rows: dict[str, LeaseRow] = {}
        start = 0
        while True:
            first, last = (start, start + _PAGE - 1) if leases else (1, 0)
            _, reply = yield from self.channel.call(scripts.INSPECT, str(first), str(last))
            now, accounts, free, _, cooling, waiting, to_clean, out, policy, count = reply[:10]
            for token, expires, entry in zip(reply[10::3], reply[11::3], reply[12::3], strict=True):
                if entry:  # else the index went astray; the lease ends at its time
                    row = understood(f"the lease of token {token!r}", _lease_row, token, expires, entry)
                    rows[row.token] = row
            if count < _PAGE:
                by_age = tuple(sorted(rows.values(), key=lambda row: row.fence))
                return Figures(now / 1000, accounts, free, cooling, waiting, to_clean, out, _read_json(policy), by_age)
            start += _PAGE

    def quarantined(self) -> Flow[list[QuarantineRow]]:
        """The accounts that are out of the rotation, the first to be put out first."""
        rows: dict[str, QuarantineRow] = {}
        cursor = b"0"
        while True:
            words = ("HSCAN", self.channel.keys.quarantine, cursor, "COUNT", str(_PAGE))
            _, (cursor, found) = yield from self.channel.send(Plain(words))
            for name, entry in zip(found[::2], found[1::2], strict=True):
                row = understood(f"the quarantine of {name!r}", _quarantine_row, name, entry)
                rows[row.account] = row
            if cursor == b"0":
                return sorted(rows.values(), key=lambda row: row.since)

    def waiting(self) -> Flow[list[WaiterRow]]:
        """Who waits, in the order in which they are served."""
        rows: dict[str, WaiterRow] = {}
        cursor = b"0"
        while True:
            _, (cursor, *found) = yield from self.channel.call(scripts.WAITING, cursor)
            for token, stamp, entry in zip(found[::3], found[1::3], found[2::3], strict=True):
                row = understood(f"the request of token {token!r}", _waiter_row, token, stamp, entry)
                rows[row.token] = row
            if cursor == b"0":
                return sorted(rows.values(), key=lambda row: row.stamp)

    def events(self, account: str | None, limit: int) -> Flow[list[EventRow]]:
        """The last events, of one account or of all, the newest first; so many at most."""
        found: list[EventRow] = []
        last = "+"
        while len(found) < limit:
            words = ("XREVRANGE", self.channel.keys.events, last, "-", "COUNT", str(_EVENTS_PAGE))
            _, page = yield from self.channel.send(Plain(words))
            rows = (row for entry in page for row in reversed(event_rows(*entry)))
            found += [row for row in rows if account is None or row.account == account]
            if len(page) < _EVENTS_PAGE:
                break
            last = "(" + page[-1][0].decode()
        return found[:limit]

    def note(self, event: str, why: str) -> Flow[None]:
        """Write to the audit trail, if there is such a pool."""
        yield from self.channel.call(scripts.NOTE, event, why)

    def configure(self, policy: Mapping[str, Any]) -> Flow[Mapping[str, Any]]:
        """Set values of the pool's policy, False for none; all of it."""
        (text,) = yield from self.channel.call_by_owner(scripts.CONFIGURE, json.dumps(policy))
        keys = self.channel.keys  # a pool that has rules is one, though it may have no accounts yet
        yield from self.channel.send(Plain(("SADD", pools_key(keys.namespace), keys.pool)))
        return _read_json(text)

    def report(
        self, what: str, account: str, reason: str, by: str, token: str, rest: int | None
    ) -> Flow[tuple[int, bool]]:
        """Tell of a health: 'bad', 'good', 'quarantine' or 'restore'; the account's failures, and whether it is out."""
        words = (what, account, reason, by, "" if rest is None else str(rest), token)
        _, reply = yield from self.channel.call(scripts.HEALTH, *words)
        if reply[0] == b"unknown":
            raise self.channel.unknown(account)
        return reply[1], bool(reply[2])

    def reserve(
        self, token: str, account: str, owner: str, until: float, note: str, by: str, *, force: bool
    ) -> Flow[list[Grant]]:
        """Give the owner all seats of an account, until a time in seconds since 1970.

        Raises:
            UnknownAccount: the pool has no such account.
            ConfigError: it is held and force is not given, it is never locked, or the time is past.
        """
        words = (token, account, owner, str(int(until * 1000)), note, "1" if force else "0", by)
        asked, reply = yield from self.channel.call(scripts.RESERVE, *words)
        match reply[0]:
            case b"granted":
                return [read_grant(packed, asked, reply[1]) for packed in reply[2:]]
            case b"unknown":
                raise self.channel.unknown(account)
            case b"held":
                raise ConfigError(
                    f"account {account!r} is held by {reply[1].decode()!r}; wait for it, or take it by force"
                )
            case b"unlocked":
                raise ConfigError(f"account {account!r} has needs_lock=False: any number may hold it at any time")
            case b"past":
                raise ConfigError("the time until which the account is to be reserved is past")
        raise ProtocolMismatch(f"unexpected reply {reply[0]!r} of the reserve script")

    def revoke(self, account: str, owner: str, by: str, token: str, *, force: bool) -> Flow[int]:
        """Release what the owner holds of an account, or by force what anybody holds; how many leases that was.

        Raises:
            UnknownAccount: the pool has no such account.
            NotHeld: it is not held, or by others only.
        """
        _, reply = yield from self.channel.call(scripts.REVOKE, account, owner, "1" if force else "0", by, token)
        if reply[0] == b"unknown":
            raise self.channel.unknown(account)
        if not reply[1]:
            others = f"it is held by {reply[2].decode()!r}; release it by force" if reply[2] else "nobody holds it"
            raise NotHeld(f"account {account!r} is not held by {owner!r}: {others}")
        return int(reply[1])


def hand_outs_a_second(events: Sequence[EventRow], now: float) -> float | None:
    """How many accounts were handed out in a second of late; None where that cannot be told."""
    times = [row.at for row in events if row.event == "granted"]
    if len(times) < 2 or now <= times[-1]:  # noqa: PLR2004 - an interval has two ends
        return None
    return len(times) / (now - times[-1])


def _lease_row(token: bytes, expires: bytes, entry: bytes) -> LeaseRow:
    seat, owner, fence, since, purpose = entry.decode("utf-8", "replace").split("\n", 4)
    ends = float(expires) / 1000
    return LeaseRow(token.decode("utf-8", "replace"), seat, owner, int(fence), int(since) / 1000, ends, purpose)


def _waiter_row(token: bytes, stamp: bytes, entry: bytes) -> WaiterRow:
    _, owner, _, since, want, options = entry.decode("utf-8", "replace").split("\n", 5)
    name = token.decode("utf-8", "replace")
    return WaiterRow(name, float(stamp), owner, int(since) / 1000, want, _read_json(options.encode()))


def _quarantine_row(name: bytes, entry: bytes) -> QuarantineRow:
    since, by, reason = entry.decode("utf-8", "replace").split("\n", 2)
    return QuarantineRow(name.decode("utf-8", "replace"), int(since) / 1000, by, reason)


def event_rows(number: bytes, fields: list[bytes]) -> list[EventRow]:
    """The events that an entry tells of, the oldest first; 'unreadable' what tells of none, lest it hide others."""
    return [_event_row(number, fields[i], fields[i + 1]) for i in range(0, len(fields) - 1, 2)]


def _event_row(number: bytes, event: bytes, told: bytes) -> EventRow:
    try:
        return understood("an event", _event_in, number, event, told)
    except ProtocolMismatch as error:
        return EventRow(moment(number), "unreadable", "", "", 0, str(error))


def moment(number: bytes) -> float:
    """When the entry of that number was written, in seconds since 1970; 0 where the server cannot have given it."""
    found = re.match(rb"[0-9]{1,15}(?=-)", number)
    return int(found[0]) / 1000 if found else 0.0


def _event_in(number: bytes, event: bytes, told: bytes) -> EventRow:
    account, owner, fence, token, waited, why = told.decode("utf-8", "replace").split("\n", 5)
    return EventRow(
        at=int(number.partition(b"-")[0]) / 1000,
        event=event.decode("utf-8", "replace"),
        account=account,
        owner=owner,
        fence=int(fence),
        why=why,
        token=token,
        waited=int(waited or 0) / 1000 if event == b"granted" else None,
    )


def _read_json(text: bytes) -> Mapping[str, Any]:
    return understood("the pool's policy, or an option of a request,", _object_in, text)


def _object_in(text: bytes) -> Mapping[str, Any]:
    found = json.loads(text) if text else {}
    if not isinstance(found, dict):
        raise TypeError
    return found
