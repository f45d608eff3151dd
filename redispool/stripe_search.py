"""How one caller finds an account in a striped pool: he looks at the stripes in turn, and waits in line at one."""

from __future__ import annotations

import time
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from redispool.drivers import translated
from redispool.errors import AcquireTimeout, PoolEmpty, PoolExhausted, ReplicationError
from redispool.protocol.chance import chance
from redispool.protocol.commands import Pause, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from redispool.protocol.commands import Elsewhere, Flow

LOOK_AROUND = 1.0  # seconds that one waits in line at a stripe before looking at others
REACH = 4  # others that are looked at then
_LOOKS = 50  # a second, by all who wait in a process
_SELDOM = 10.0  # seconds after which one looks around, however many wait in the process
_GONE = 60.0  # seconds for which a stripe that does not answer is left alone
_NEXT = 15.0  # seconds after which another one of those is tried


class Outages:
    """The stripes that did not answer, as all threads and tasks of a process know them: each need not find out anew."""

    def __init__(self) -> None:
        self._gone: dict[Any, float] = {}  # and until when
        self._next = 0.0  # an outage mostly takes several at once, and to try one takes seconds

    def has(self, pool: Any) -> bool:
        """Whether the stripe is to be left alone for now."""
        until = self._gone.get(pool)
        return until is not None and time.monotonic() < max(until, self._next)

    def note(self, pool: Any) -> None:
        """The stripe has not answered."""
        now = time.monotonic()
        self._gone[pool] = now + _GONE
        self._next = now + _NEXT

    def over(self, pool: Any) -> None:
        """The stripe has answered: if it was gone, all are tried again."""
        if pool in self._gone:
            self.forget()

    def forget(self) -> None:
        """Try all again."""
        self._gone = {}


class Search:
    """One caller's search.

    Args:
        pool_name: of the striped pool.
        ring: its stripes, the caller's own one first.
        ask: makes the command that asks a stripe, for so many seconds, from a place in line.
        timeout: seconds that it may take; None: for ever.
        outages: what is known of the stripes.
        crowd: all who wait in this process.
    """

    def __init__(
        self,
        pool_name: str,
        ring: Sequence[Any],
        ask: Callable[[Any, float, str], Elsewhere],
        timeout: float | None,
        outages: Outages,
        crowd: set[Any],
    ) -> None:
        self._pool_name = pool_name
        self._ring = ring
        self._ask = ask
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._outages = outages
        self._crowd = crowd
        self._stamps: dict[Any, str] = {}  # the places in line that we had
        self._gone_since: float | None = None  # that there was nobody to talk to
        self._begin_to_look()

    def _begin_to_look(self) -> None:
        self._waitable: list[Any] = []  # where one may wait for what is wanted
        self._in_vain: PoolEmpty | None = None
        self._outage: Exception | None = None
        self._left_out = False  # stripes that did not answer before

    def find(self) -> Flow[Any]:
        """Take an account where there is one.

        Raises:
            AcquireTimeout: none came free in time.
            PoolEmpty, PoolExhausted: no stripe has what is wanted, so that waiting would be in vain.
            redis.RedisError: those that have it did not answer, as long as there was time or patience.
        """
        while True:
            found = yield from self._look(self._ring)
            if found is None and self._waitable:
                self._gone_since = None
                found = yield from self._wait(self._where_to_wait())
            elif found is None and self._left_out:
                self._outages.forget()  # what is wanted is with those, if anywhere
            elif found is None:
                yield from self._ride_out()
            if found is not None:
                return found

    def _where_to_wait(self) -> Any:
        """At the own stripe, if one can; else by lot, for those whose own stripe has nothing are to spread."""
        return self._ring[0] if self._waitable[0] is self._ring[0] else chance.choice(self._waitable)

    def _look(self, pools: Iterable[Any]) -> Flow[Any]:
        """What can be had at once of one of the stripes, or None."""
        self._begin_to_look()
        for pool in pools:
            if self._outages.has(pool):
                self._left_out = True
                continue
            try:
                found = yield self._ask(pool, 0.0, "")
            except AcquireTimeout:
                self._waitable.append(pool)
            except PoolEmpty as error:
                self._in_vain = self._in_vain if isinstance(self._in_vain, PoolExhausted) else error
            except Exception as error:  # noqa: BLE001 - what is no outage is raised again
                late = self._outage is not None and self._remaining() <= 0
                self._note_outage(pool, error)
                if late:
                    return None  # to find out about each may take seconds
                continue
            else:
                return found
            self._outages.over(pool)
        return None

    def _wait(self, home: Any) -> Flow[Any]:
        """Wait in line at one stripe, with a look at some of the others now and then; what was found, or None.

        Who looks around keeps his place: nobody who comes later is served before him, but while he looks.
        """
        others = [pool for pool in self._ring if pool is not home]  # one without accounts may get some
        chance.shuffle(others)
        in_turn = cycle(others)  # so that each is looked at, and not left to chance
        self._crowd.add(self)
        try:
            while True:
                try:
                    return (yield self._ask(home, min(self._remaining(), self._slice()), self._stamps.get(home, "")))
                except AcquireTimeout as error:
                    if self._remaining() <= 0:
                        raise AcquireTimeout(
                            f"no account of striped pool {self._pool_name!r} came free in time"
                        ) from None
                    self._stamps[home] = error.stamp
                except PoolEmpty:
                    return None  # the stripe has been emptied: look whether all are
                except Exception as error:  # noqa: BLE001 - what is no outage is raised again
                    self._note_outage(home, error)
                    return None
                found = yield from self._look(islice(in_turn, min(REACH, len(others))))
                if found is not None:
                    return found
        finally:
            self._crowd.discard(self)

    def _slice(self) -> float:
        """How long to stand in line before looking around: less often where many do, and not all at once."""
        return min(max(LOOK_AROUND, len(self._crowd) / _LOOKS), _SELDOM) * chance.uniform(0.5, 1.0)

    def _remaining(self) -> float:
        return float("inf") if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    def _note_outage(self, pool: Any, error: Exception) -> None:
        """Remember that a stripe did not answer; anything else that went wrong is raised."""
        if isinstance(error, OSError) or not isinstance(translated(error), Unavailable | ReplicationError):
            raise error  # a failing callable of the user's, say, is no outage
        self._outages.note(pool)
        self._outage = error

    def _ride_out(self) -> Flow[None]:
        """No stripe has what is wanted, unless it is one of those that do not answer: wait for these."""
        if self._outage is None:
            raise self._told_in_full()
        channels = [pool.operations.flows.channel for pool in self._ring]
        now = time.monotonic()
        self._gone_since = self._gone_since or now
        limit = self._gone_since + channels[0].patience if self._deadline is None else self._deadline
        if now >= limit or not any(channel.contacted for channel in channels):
            raise self._outage
        self._outages.forget()
        yield Pause(min(chance.uniform(0.05, 0.5), limit - now))

    def _told_in_full(self) -> PoolEmpty:
        error = self._in_vain or PoolEmpty("there is none")
        return type(error)(
            f"none of the {len(self._ring)} stripes of pool {self._pool_name!r} has what is wanted; of one: {error}"
        )
