"""The last hour of a pool, from its events: how many were held, how fast it went, how long one waited, who had what."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redispool.watch import percentile

if TYPE_CHECKING:
    from redispool.protocol.oversight import EventRow
    from redispool.watch import PoolView

SPAN = 3600.0  # seconds that are kept
STEP = 10.0  # seconds that one figure of a chart stands for
_MOST_HOLDINGS = 4000
_MOST_WAITS = 1000  # of one step, for its percentiles
_ENDS = {"released", "expired", "lost", "revoked", "returned"}


@dataclass(slots=True)
class _Step:
    """What happened within so many seconds."""

    held: float = 0.0  # seconds that accounts were held, all together
    known: float = 0.0  # seconds of which that is known
    hand_outs: int = 0
    waits: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _Holding:
    """Who had an account, and from when to when."""

    account: str
    owner: str
    fence: int
    start: float
    end: float | None = None
    how: str = ""  # it ended

    def row(self) -> list[Any]:
        return [self.fence, self.account, self.owner, self.start, self.end, self.how]


class History:
    """The last hour of one pool; `take` goes on with it."""

    def __init__(self) -> None:
        self._steps: dict[int, _Step] = {}
        self._open: dict[int, _Holding] = {}  # by fence
        self._closed: deque[_Holding] = deque(maxlen=_MOST_HOLDINGS)
        self._level = 0  # accounts held
        self._told_until: float | None = None  # the moment up to which the level is known
        self._changed_steps: set[int] = set()
        self._changed: dict[int, _Holding] = {}
        self._known_since = 0.0

    def take(self, view: PoolView) -> None:
        """Go on with what was seen since the look before."""
        now = view.status.at
        net = sum(_change(row) for row in view.events if row.at <= now)
        if self._told_until is None:
            self._known_since = self._told_until = view.known_since
        self._level = view.status.held - net  # the leases decide how many were held before
        self._changed_steps, self._changed = set(), {}
        for row in view.events:
            self._heed(row)
        self._advance(now)
        self._reconcile(view)
        self._forget(now - SPAN)

    def whole(self, most: int) -> dict[str, Any]:
        """All of it, as the page is told it first; of those that have ended, so many holdings at most."""
        ended = list(self._closed)[max(len(self._closed) - most, 0) :]
        cut = most < len(self._closed) or len(self._closed) == _MOST_HOLDINGS
        return {
            "since": self._known_since,
            "holdings_since": (ended[0].end if ended else None) if cut else self._known_since,
            "steps": [self._figures(number) for number in sorted(self._steps)],
            "holdings": [one.row() for one in (*ended, *self._open.values())],
        }

    def news(self) -> dict[str, Any]:
        """What of it the last `take` has changed."""
        return {
            "steps": [self._figures(number) for number in sorted(self._changed_steps & self._steps.keys())],
            "holdings": [one.row() for one in list(self._changed.values())[-_MOST_HOLDINGS:]],
        }

    def _figures(self, number: int) -> list[Any]:
        """A step: since when, how many were held on average, hand-outs, median and 95th percentile of the waits."""
        step = self._steps[number]
        waits = sorted(step.waits)
        held = round(step.held / step.known, 3) if step.known else None
        return [number * STEP, held, step.hand_outs, percentile(waits, 50), percentile(waits, 95)]

    def _heed(self, row: EventRow) -> None:
        self._advance(row.at)
        self._level += _change(row)
        if row.event == "granted":
            step = self._step(row.at)
            step.hand_outs += 1
            if row.waited is not None and len(step.waits) < _MOST_WAITS:
                step.waits.append(row.waited)
            self._begin(_Holding(row.account, row.owner, row.fence, row.at))
        elif row.event in _ENDS:
            unseen = _Holding(row.account, row.owner, row.fence, self._known_since)  # it began before that
            self._end(self._open.pop(row.fence, unseen), row.at, row.event)

    def _begin(self, holding: _Holding) -> None:
        self._open[holding.fence] = self._changed[holding.fence] = holding

    def _end(self, holding: _Holding, at: float, how: str) -> None:
        holding.end, holding.how = at, how
        self._closed.append(holding)
        self._changed[holding.fence] = holding

    def _reconcile(self, view: PoolView) -> None:
        """The leases decide who holds what: events may be missing, as the pool was reset, or keeps none."""
        leases = {lease.fence: lease for lease in view.status.leases if lease.fence}  # an operator's own lock has none
        for fence in leases.keys() - self._open.keys() - self._changed.keys():
            lease = leases[fence]
            self._begin(_Holding(lease.account, lease.owner, fence, lease.acquired_at))
        for fence in self._open.keys() - leases.keys():
            if self._open[fence].start < view.status.at:  # else it was granted after the leases were read
                self._end(self._open.pop(fence), view.status.at, "gone")

    def _advance(self, to: float) -> None:
        """So many accounts were held up to this moment."""
        at = self._told_until
        while at is not None and at < to:
            step = self._step(at)
            end = min((at // STEP + 1) * STEP, to)
            step.held += max(self._level, 0) * (end - at)
            step.known += end - at
            self._told_until = at = end

    def _step(self, at: float) -> _Step:
        number = int(at // STEP)
        self._changed_steps.add(number)
        return self._steps.setdefault(number, _Step())

    def _forget(self, before: float) -> None:
        for number in [one for one in self._steps if (one + 1) * STEP < before]:
            del self._steps[number]
        while self._closed and (self._closed[0].end or 0.0) < before:
            self._closed.popleft()


def _change(row: EventRow) -> int:
    """What an event does to the number of leases."""
    return 1 if row.event == "granted" else -(row.event in _ENDS)
