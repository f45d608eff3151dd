"""What `redispool top` knows: looks at the pools again and again, and keeps count."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis

from redispool.cli.exits import reason_of
from redispool.errors import RedispoolError
from redispool.protocol.foreign import understood
from redispool.protocol.keys import PoolKeys
from redispool.protocol.oversight import EventRow, event_row

if TYPE_CHECKING:
    from redispool.cli.site import Site
    from redispool.pool import AccountPool
    from redispool.status import PoolStatus, WaiterInfo

KEPT = 60  # rates, for the sparkline
_WAITS = 1000  # of each pool, for the percentiles
_PAGE = 2000  # events


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool at the last look.

    Attributes:
        status: its figures and leases.
        waiters: its queue, in the order of service.
        rate: hand-outs a second since the look before; None at the first.
        waits: how long those who got an account lately had waited for it, in seconds, sorted. Who waited so briefly
            that no look caught them counts as not having waited.
    """

    status: PoolStatus
    waiters: list[WaiterInfo]
    rate: float | None
    waits: list[float]

    def percentile(self, percent: int) -> float | None:
        """The time within which so many percent got their account; None where nobody has."""
        if not self.waits:
            return None
        return self.waits[min(len(self.waits) * percent // 100, len(self.waits) - 1)]


class Watch:
    """Looks at the pools of a site.

    Args:
        site: where they are.

    Attributes:
        pools: them all, as they were at the last look.
        rates: hand-outs a second in all, look by look.
        trouble: why the last look failed; '' if it did not.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._watched: dict[str, _Watched] = {}
        self.pools: list[PoolView] = []
        self.rates: deque[float] = deque(maxlen=KEPT)
        self.trouble = ""

    def look(self) -> None:
        """Look once more. What was seen before stays where that fails."""
        try:
            names = self._site.names()
            self._watched = {name: self._watched.get(name) or _Watched(self._site, name) for name in names}
            self.pools = [watched.look() for watched in self._watched.values()]
            self.trouble = ""
        except (redis.RedisError, RedispoolError) as error:
            self.trouble = reason_of(error)
        known = [pool.rate for pool in self.pools if pool.rate is not None]
        if known and not self.trouble:
            self.rates.append(sum(known))

    def pool(self, name: str) -> AccountPool:
        """The pool of that name, to do something with."""
        return self._watched[name].pool


class _Watched:
    """One pool, and what was seen of it."""

    def __init__(self, site: Site, name: str) -> None:
        self.pool = site.new_pool(name)
        self._client: Any = site.client
        self._key = PoolKeys(site.namespace, name).events
        self._seen: bytes | None = None  # the last event
        self._looked_at = 0.0
        self._waiting: dict[str, float] = {}  # token -> since
        self._waits: deque[float] = deque(maxlen=_WAITS)

    def look(self) -> PoolView:
        status, waiters = self.pool.status(), self.pool.waiting()
        first = self._seen is None
        granted = [row for row in self._news() if row.event == "granted"]
        for row in granted:
            since = self._waiting.get(row.token.partition("/")[0])
            self._waits.append(0.0 if since is None else max(row.at - since, 0.0))
        self._waiting = {waiter.token: waiter.since for waiter in waiters}
        now = time.monotonic()
        rate = None if first else len(granted) / max(now - self._looked_at, 0.001)
        self._looked_at = now
        return PoolView(status, waiters, rate, sorted(self._waits))

    def _news(self) -> list[EventRow]:
        """The events since the last look, all but those before the first."""
        if self._seen is None:
            last = self._client.xrevrange(self._key, count=1)
            self._seen = last[0][0] if last else b"0-0"
            return []
        rows: list[EventRow] = []
        while True:
            page = self._client.execute_command("XRANGE", self._key, b"(" + self._seen, "+", "COUNT", _PAGE)
            for number, fields in page:
                pairs = fields if isinstance(fields, list) else [word for pair in fields.items() for word in pair]
                rows.append(understood(f"event {number!r}", event_row, number, pairs))
                self._seen = number
            if len(page) < _PAGE:
                return rows
