"""Looking at a pool and ruling it, as flows."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from redispool.arguments import MAX_NOTE, check_note, check_seconds, check_whole
from redispool.errors import ConfigError
from redispool.identity import new_token, owner_name
from redispool.protocol.audit import AuditFlows, Disagreement
from redispool.protocol.oversight import OversightFlows
from redispool.protocol.requests import milliseconds
from redispool.status import HistoryEvent, PoolStatus, WaiterInfo, status_of, waiters_of
from redispool.terms import Policy, name_of, policy_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redispool.protocol.channel import PoolChannel
    from redispool.protocol.commands import Flow

_RECENT = 200  # events, from which the rate of hand-outs is told
_MOST_EVENTS = 1_000_000
_END_OF_TIME = 253402300800.0  # the year 10000


class Oversight:
    """Shows and rules one pool.

    Args:
        channel: the pool's.
    """

    def __init__(self, channel: PoolChannel) -> None:
        self._pool = channel.keys.pool
        self._caller = channel.caller
        self._flows = OversightFlows(channel)
        self._audit = AuditFlows(channel)

    def count(self) -> Flow[int]:
        """How many accounts there are."""
        figures = yield from self._flows.inspect(leases=False)
        return figures.accounts

    def status(self) -> Flow[PoolStatus]:
        """The pool at this instant."""
        figures = yield from self._flows.inspect()
        out = (yield from self._flows.quarantined()) if figures.quarantined else []
        return status_of(self._pool, figures, out)

    def note(self, event: str, why: str) -> Flow[None]:
        """Tell the audit trail what was done about the pool outside its own keys."""
        yield from self._flows.note(event, why[:MAX_NOTE])

    def waiting(self) -> Flow[list[WaiterInfo]]:
        """Who waits, in the order of service."""
        rows = yield from self._flows.waiting()
        figures = yield from self._flows.inspect(leases=False)
        events = yield from self._flows.events(None, _RECENT)
        return waiters_of(rows, events, figures.at)

    def history(self, account: Any, limit: Any) -> Flow[list[HistoryEvent]]:
        """The last events, of an account or of all, the newest first."""
        name = None if account is None else name_of(account)
        rows = yield from self._flows.events(name, check_whole("limit", limit, 1, _MOST_EVENTS))
        return [
            HistoryEvent(row.at, row.event, row.account, row.owner, row.fence, row.why, row.token, row.waited)
            for row in rows
        ]

    def audit(self) -> Flow[list[Disagreement]]:
        """What contradicts itself in the pool's keys."""
        return self._audit.audit()

    def configure(self, policy: Mapping[str, Any]) -> Flow[Policy]:
        """Change the pool's policy, as `check_policy` gives it; all of it."""
        return policy_from((yield from self._flows.configure(policy)))

    def quarantine(self, account: Any, reason: Any) -> Flow[None]:
        """Take an account out of the rotation."""
        yield from self._report("quarantine", account, check_note("the reason", reason), None)

    def restore(self, account: Any) -> Flow[None]:
        """Bring an account back into the rotation, and forget its failures."""
        yield from self._report("restore", account, "", None)

    def mark_bad(self, account: Any, reason: Any, cooldown: Any) -> Flow[bool]:
        """Count a failure of an account; whether that has put it into quarantine."""
        rest = None if cooldown is None else milliseconds(check_seconds("cooldown", cooldown))
        return (yield from self._report("bad", account, check_note("the reason", reason), rest))

    def mark_good(self, account: Any) -> Flow[None]:
        """Forget an account's failures."""
        yield from self._report("good", account, "", None)

    def _report(self, what: str, account: Any, reason: str, rest: int | None) -> Flow[bool]:
        by, name = self._caller(), name_of(account)
        _, is_out = yield from self._flows.report(what, name, reason, by, new_token(), rest)
        return is_out

    def reserve(self, account: Any, owner: Any, until: Any, note: Any, force: Any) -> Flow[None]:
        """Take an account out for somebody."""
        ends = _time_of(until)
        words = (new_token(), name_of(account), owner_name(owner), ends, check_note("the note", note), self._caller())
        yield from self._flows.reserve(*words, force=bool(force))

    def release(self, account: Any, owner: Any, force: Any) -> Flow[int]:
        """Release what an owner, or by force what anybody, holds of an account; how many leases that was."""
        words = (name_of(account), owner_name(owner), self._caller(), new_token())
        return (yield from self._flows.revoke(*words, force=bool(force)))


def _time_of(until: Any) -> float:
    """A time in seconds since 1970."""
    if isinstance(until, dt.datetime):
        if until.tzinfo is None:
            raise ConfigError("until must tell its time zone, as datetime.now(UTC) + timedelta(hours=1) does")
        return until.timestamp()
    if isinstance(until, bool) or not isinstance(until, int | float):
        raise ConfigError(f"until must be a datetime, or seconds since 1970, not {type(until).__name__}")
    return check_seconds("until", until, most=_END_OF_TIME)
