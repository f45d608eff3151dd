"""What `redispool top` and the web page know: looks at the pools again and again, and keeps count."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import redis

from redispool.errors import RedispoolError
from redispool.protocol.keys import PoolKeys
from redispool.protocol.oversight import EventRow, event_rows, moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redispool.pool import AccountPool
    from redispool.status import PoolStatus, WaiterInfo

KEPT = 60  # rates, for the sparkline
_WAITS = 1000  # of each pool, for the percentiles
_PAGE = 2000  # events
_MOST = 50_000  # events of a pool that a look reads; the newest, where there are more


class Place(Protocol):
    """Where the pools are: a namespace on a server."""

    @property
    def client(self) -> Any:
        """One that answers in bytes."""

    @property
    def namespace(self) -> str:
        """What all keys begin with."""

    def names(self) -> list[str]:
        """The names of the pools, in their order."""

    def new_pool(self, name: str) -> AccountPool:
        """The pool of that name."""


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool at the last look.

    Attributes:
        status: its figures and leases.
        waiters: its queue, in the order of service.
        rate: hand-outs a second since the look before; None at the first.
        waits: how long those who got an account lately had waited for it, in seconds, sorted.
        events: what happened since the look before; at the first, in the time that the watch reaches back.
        known_since: the moment since which all events are known, by the server's clock.
    """

    status: PoolStatus
    waiters: list[WaiterInfo]
    rate: float | None
    waits: list[float]
    events: tuple[EventRow, ...] = ()
    known_since: float = 0.0

    def percentile(self, percent: int) -> float | None:
        """The time within which so many percent got their account; None where nobody has."""
        return percentile(self.waits, percent)


def percentile(waits: Sequence[float], percent: int) -> float | None:
    """The one of sorted times within which so many percent of them are; None where there are none."""
    return waits[min(len(waits) * percent // 100, len(waits) - 1)] if waits else None


class Watch:
    """Looks at the pools of a place.

    Args:
        place: where they are.
        reach: of how many seconds before the first look at a pool events are wanted too.

    Attributes:
        pools: them all, as they were at the last look.
        rates: hand-outs a second in all, look by look.
        trouble: why the last look failed; None if it did not.
    """

    def __init__(self, place: Place, reach: float = 0.0) -> None:
        self._place = place
        self._reach = reach
        self._watched: dict[str, _Watched] = {}
        self.pools: list[PoolView] = []
        self.rates: deque[float] = deque(maxlen=KEPT)
        self.trouble: Exception | None = None

    def look(self) -> None:
        """Look once more. What was seen before stays where that fails, of each pool that it fails for."""
        views = {view.status.name: view for view in self.pools}
        self.trouble = None
        try:
            names = self._place.names()
            self._watched = {
                name: self._watched.get(name) or _Watched(self._place, name, self._reach) for name in names
            }
            views = {name: view for name, view in views.items() if name in self._watched}
            for name, watched in self._watched.items():
                try:
                    views[name] = watched.look()
                except RedispoolError as error:  # what is wrong with one pool hides no other
                    self.trouble = error
        except (redis.RedisError, RedispoolError) as error:
            self.trouble = error
        self.pools = [views[name] for name in sorted(views)]
        known = [pool.rate for pool in self.pools if pool.rate is not None]
        if known and not self.trouble:
            self.rates.append(sum(known))

    def pool(self, name: str) -> AccountPool:
        """The pool of that name, to do something with. Raises KeyError where the last look saw none."""
        return self._watched[name].pool


class _Watched:
    """One pool, and what was seen of it."""

    def __init__(self, place: Place, name: str, reach: float) -> None:
        self.pool = place.new_pool(name)
        self._client: Any = place.client
        self._key = PoolKeys(place.namespace, name).events
        self._reach = reach
        self._seen: bytes | None = None  # the last event
        self._known_since = 0.0
        self._looked_at = 0.0
        self._waits: deque[float] = deque(maxlen=_WAITS)

    def look(self) -> PoolView:
        status, waiters = self.pool.status(), self.pool.waiting()
        first = self._seen is None
        events = self._past(status.at) if first else self._news()
        granted = [row for row in events if row.event == "granted"]
        self._waits.extend(row.waited for row in granted if row.waited is not None)
        now = time.monotonic()
        rate = None if first else len(granted) / max(now - self._looked_at, 0.001)
        self._looked_at = now
        return PoolView(status, waiters, rate, sorted(self._waits), tuple(events), self._known_since)

    def _past(self, now: float) -> list[EventRow]:
        """The events before the first look, as far as it reaches back; the oldest first."""
        last = self._client.xrevrange(self._key, count=1)
        self._seen, self._known_since = (last[0][0] if last else b"0-0"), now
        if not self._reach or not last:
            return []
        rows: list[EventRow] = []
        start, end = now - self._reach, self._seen.decode()  # what happens meanwhile is of the next look
        while len(rows) < _MOST:
            page = self._client.execute_command("XREVRANGE", self._key, end, max(int(start * 1000), 0), "COUNT", _PAGE)
            rows += [row for entry in page for row in reversed(_rows(*entry))]
            if len(page) < _PAGE:
                break
            end = "(" + page[-1][0].decode()
        oldest = self._client.xrange(self._key, count=1)  # last of all, for the stream loses its oldest meanwhile
        kept_since = moment(oldest[0][0]) if oldest else now
        self._known_since = max(start, kept_since, rows[-1].at if len(rows) >= _MOST else 0.0)
        return rows[::-1]

    def _news(self) -> list[EventRow]:
        """The events since the last look; the newest, where there are very many."""
        rows: deque[EventRow] = deque(maxlen=_MOST)
        while True:
            page = self._client.execute_command("XRANGE", self._key, b"(" + (self._seen or b"0-0"), "+", "COUNT", _PAGE)
            for number, fields in page:
                rows.extend(_rows(number, fields))
                self._seen = number
            if len(page) < _PAGE:
                return list(rows)


def _rows(number: bytes, fields: Any) -> list[EventRow]:
    if isinstance(fields, dict):  # a cluster's client makes one of them
        fields = [word for pair in fields.items() for word in pair]
    return event_rows(number, fields)
