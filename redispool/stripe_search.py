"""How one caller finds an account in a striped pool: he looks at the stripes in turn, and waits in line at one."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from redispool.drivers import translated
from redispool.errors import AcquireTimeout, ConfigError, PoolEmpty, PoolExhausted, ReplicationError
from redispool.protocol.chance import chance
from redispool.protocol.commands import Block, Elsewhere, Pause, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from redispool.protocol.commands import Flow

_IN_VAIN = (PoolEmpty, ConfigError)  # what a stripe says that has nothing to wait for; the latter if all is excluded
LOOK_AROUND = 1.0  # seconds that one waits in line at a stripe before looking at others
REACH = 4  # others that are looked at then
_LOOKS = 50  # a second, by all who wait in a process
_SELDOM = 10.0  # seconds after which one looks around, however many wait in the process
_RETRY = 10.0  # seconds after which one of the stripes that do not answer is tried again, at the earliest
_SPARED = 10  # and so many times as long as it took to find out that it does not answer


class Outages:
    """The stripes that did not answer, as all threads and tasks of a process know them: each need not find out anew.

    It takes seconds to find out, and mostly several are gone at once: so they are tried one by one.
    """

    def __init__(self) -> None:
        self._gone: dict[Any, float] = {}  # and when each is tried again

    def has(self, pool: Any) -> bool:
        """Whether the stripe is to be left alone for now; who is told that it is not, tries it for all."""
        due = self._gone.get(pool)
        if due is None:
            return False
        if time.monotonic() < due:
            return True
        self.note(pool, 0.0)
        return False

    def note(self, pool: Any, took: float) -> None:
        """The stripe has not answered, which took so many seconds to find out."""
        gone = self._gone
        gone[pool] = time.monotonic() + max(_RETRY, took * _SPARED) * (len(gone) + (pool not in gone))

    def over(self, pool: Any) -> None:
        """The stripe has answered: if it was gone, all are tried again."""
        if pool in self._gone:
            self.forget()

    def forget(self) -> None:
        """Try all again."""
        self._gone = {}


class _LeaveLine(BaseException):
    """Thrown into the flow of who waits: he has got what he wants elsewhere, or is to wait elsewhere."""


class Search:
    """One caller's search.

    Args:
        pool_name: of the striped pool.
        ring: its stripes, the caller's own one first.
        acquire: the flow that acquires an account of a stripe within so many seconds; None: for ever.
        timeout: seconds that the search may take; None: for ever.
        outages: what is known of the stripes.
        crowd: all who wait in this process.
    """

    def __init__(
        self,
        pool_name: str,
        ring: Sequence[Any],
        acquire: Callable[[Any, float | None], Flow[Any]],
        timeout: float | None,
        outages: Outages,
        crowd: set[Any],
    ) -> None:
        self._pool_name = pool_name
        self._ring = ring
        self._acquire = acquire
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._outages = outages
        self._crowd = crowd
        self._gone_since: float | None = None  # that nobody has answered who has what is wanted
        self._begin_to_look()

    def _begin_to_look(self) -> None:
        self._waitable: list[Any] = []  # where one may wait for what is wanted
        self._in_vain: PoolEmpty | ConfigError | None = None
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
            if found is None and self._waitable and self._deadline is not None and time.monotonic() >= self._deadline:
                raise self._timed_out()
            if found is None and self._waitable:
                found = yield from self._wait_somewhere()
            elif found is None and self._left_out and self._outage is None:
                self._outages.forget()  # what is wanted is with those, if anywhere
            elif found is None:
                yield from self._ride_out()
            if found is not None:
                return found

    # -- looking ---------------------------------------------------------------------------------------------------

    def _look(self, pools: Iterable[Any], *, is_hurried: bool = False) -> Flow[Any]:
        """What can be had at once of one of the stripes, or None; who is in a hurry meets one outage at most."""
        self._begin_to_look()
        for pool in pools:
            if self._outages.has(pool):
                self._left_out = True
                continue
            asked = time.monotonic()
            try:
                found = yield Elsewhere(pool, self._acquire(pool, 0.0))
            except AcquireTimeout:
                self._waitable.append(pool)
                self._gone_since = None
            except _IN_VAIN as error:
                self._in_vain = max(self._in_vain or error, error, key=_telling)
            except Exception as error:  # noqa: BLE001 - what is no outage is raised again
                is_second = self._outage is not None
                self._note_outage(pool, error, time.monotonic() - asked)
                if is_hurried or (is_second and time.monotonic() >= self._limit()):
                    return None  # to find out about each takes seconds
                continue
            else:
                self._outages.over(pool)
                return found
            self._outages.over(pool)
        return None

    def _note_outage(self, pool: Any, error: Exception, took: float = 0.0) -> None:
        """Remember that a stripe did not answer; anything else that went wrong is raised."""
        if isinstance(error, OSError) or not isinstance(translated(error), Unavailable | ReplicationError):
            raise error  # a failing callable of the user's, say, is no outage
        self._outages.note(pool, took)
        self._outage = error
        self._gone_since = self._gone_since or time.monotonic()

    def _limit(self) -> float:
        """Until when to ride out an outage, by the monotonic clock."""
        if self._deadline is not None:
            return self._deadline
        patience: float = self._ring[0].operations.flows.channel.patience
        return (self._gone_since or time.monotonic()) + patience

    def _ride_out(self) -> Flow[None]:
        """No stripe has what is wanted, unless it is one of those that do not answer: wait for these."""
        if self._outage is None:
            raise self._told_in_full()
        now, limit = time.monotonic(), self._limit()
        if now >= limit or not any(pool.operations.flows.channel.contacted for pool in self._ring):
            raise self._outage
        self._outages.forget()
        yield Pause(min(chance.uniform(0.05, 0.5), limit - now))

    def _timed_out(self) -> AcquireTimeout:
        return AcquireTimeout(f"no account of striped pool {self._pool_name!r} came free in time")

    def _told_in_full(self) -> PoolEmpty | ConfigError:
        error = self._in_vain
        if error is None or isinstance(error, ConfigError):
            return error or PoolEmpty(f"striped pool {self._pool_name!r} has no stripe to look at")
        return type(error)(
            f"none of the {len(self._ring)} stripes of pool {self._pool_name!r} has what is wanted; of one: {error}"
        )

    # -- waiting ---------------------------------------------------------------------------------------------------

    def _wait_somewhere(self) -> Flow[Any]:
        """Wait in line at the own stripe or, where that has nothing to wait for, at another; None: look at all again.

        It is by lot then, that those whose own stripe has nothing may spread.
        """
        first = self._ring[0]
        home = first if self._waitable[0] is first else chance.choice(self._waitable)
        self._crowd.add(self)
        try:
            return (yield from self._wait(home))
        except AcquireTimeout:
            raise self._timed_out() from None
        except _IN_VAIN:
            return None  # the stripe has been emptied, say: look whether all are
        except Exception as error:  # noqa: BLE001 - what is no outage is raised again
            self._note_outage(home, error)
            return None
        finally:
            self._crowd.discard(self)

    def _wait(self, home: Any) -> Flow[Any]:
        """Wait in line at one stripe, with a look at some of the others now and then; what was found, or None."""
        timeout = None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)
        line = PlaceInLine(home, self._acquire(home, timeout))
        others = [pool for pool in self._ring if pool is not home]  # one without accounts may get some
        chance.shuffle(others)
        in_turn = cycle(others)  # so that each is looked at, and not left to chance
        look_at = time.monotonic() + self._pause()
        while not line.is_over:
            if line.is_standing and time.monotonic() >= look_at:
                found = yield from self._look_from(line, islice(in_turn, min(REACH, len(others))))
                if found is not None or line.is_left:
                    return found
                look_at = time.monotonic() + self._pause()
            came_back = yield from line.step(look_at - time.monotonic())
            if came_back:
                self._outages.forget()
        return line.result

    def _look_from(self, line: PlaceInLine, pools: Iterable[Any]) -> Flow[Any]:
        """Look at other stripes; who finds something, or stands in line where nobody answers, leaves the line."""
        try:
            found = yield from self._look(pools, is_hurried=True)
        except GeneratorExit:
            raise
        except BaseException:
            yield from line.leave()
            raise
        if found is None and not (self._waitable and line.is_dead()):
            return None
        try:
            yield from line.leave()
        except GeneratorExit:
            raise
        except BaseException as error:
            if found is not None:
                yield Elsewhere(found._home, found._home.operations.leave(found, error, ()))  # noqa: SLF001 - see Stripes.leave
            raise
        if found is None:
            self._outages.note(line.home, 0.0)
        return found

    def _pause(self) -> float:
        """How long not to look around: longer where many do, and not all at once."""
        return min(max(LOOK_AROUND, len(self._crowd) / _LOOKS), _SELDOM) * chance.uniform(0.5, 1.0)


class PlaceInLine:
    """Who waits at a stripe, step by step: he keeps his place, whatever is done between two steps.

    Args:
        home: the stripe.
        flow: acquires an account there.

    Attributes:
        result: what it gave, once it is over.
        is_over: whether it is.
        is_left: whether the place was given up.
        is_standing: whether the flow only waits for the time being.
    """

    def __init__(self, home: Any, flow: Flow[Any]) -> None:
        self.home = home
        self.result: Any = None
        self.is_over = False
        self.is_left = False
        self.is_standing = False
        self._flow = flow
        self._interrupted = False
        self._gone_since: float | None = None  # that the stripe has not answered
        self._command: Any = None
        self._resume(flow.send, None)

    def step(self, longest: float = 0.0) -> Flow[bool]:
        """Carry out what comes next, for so many seconds if it is to wait for mail; whether an outage is over."""
        command, is_back = self._command, False
        if isinstance(command, Block):
            longest = max(longest, 0.001)
            command = replace(command, seconds=min(command.seconds, longest), longest=min(command.longest, longest))
        try:
            reply = yield Elsewhere(self.home, _once(command))
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - it is the flow's to bear
            if isinstance(error, Unavailable):
                self._gone_since = self._gone_since or time.monotonic()
            else:
                self._interrupted = True
            self._resume(self._flow.throw, error)
        else:
            if not isinstance(command, Pause):
                is_back, self._gone_since = self._gone_since is not None, None
            self._resume(self._flow.send, reply)
        return is_back

    def leave(self) -> Flow[None]:
        """Leave the line, and give back what was granted meanwhile."""
        self.is_left = self._interrupted = True
        try:
            self._resume(self._flow.throw, _LeaveLine())
            while not self.is_over:
                yield from self.step()
        except _LeaveLine:
            return

    def is_dead(self) -> bool:
        """Whether the stripe has not answered for so long that the line, should it be there again, does without us."""
        presence: float = 3 * self.home.operations.flows.slice_seconds
        return self._gone_since is not None and time.monotonic() - self._gone_since > presence

    def _resume(self, resume: Callable[[Any], Any], value: Any) -> None:
        try:
            self._command = resume(value)
        except StopIteration as stop:
            self.is_over, self.result = True, stop.value
        self.is_standing = not self.is_over and not self._interrupted and isinstance(self._command, Block | Pause)


def _telling(error: PoolEmpty | ConfigError) -> int:
    """How much it tells that one stripe gave this reason, where others gave another."""
    return 2 if isinstance(error, PoolExhausted) else int(isinstance(error, ConfigError))


def _once(command: Any) -> Flow[Any]:
    return (yield command)
