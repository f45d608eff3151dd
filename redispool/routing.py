"""Which pool serves which host: the logic of the managers, blocking or not."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from redispool.errors import ConfigError
from redispool.hosts import identify
from redispool.protocol.keys import PRIVATE_PREFIX
from redispool.protocol.routes import Entry, Route, RouteFlows
from redispool.protocol.rules import rules_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from redispool.protocol.channel import Channel
    from redispool.protocol.commands import Flow

MAX_AGE = 0.5  # seconds that rules read from Redis are good for; other hosts' changes are seen that soon


class RoutedPool(Protocol):
    """A pool, as the router sees it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def namespace(self) -> str:
        """Its namespace."""


P = TypeVar("P", bound=RoutedPool)


@dataclass(frozen=True, slots=True)
class LocalMatch(Generic[P]):
    """A callable of this process, and the shared rules that this manager added before it."""

    match: Callable[[Any], Any]
    pool: P
    after: frozenset[Route]


class Router(Generic[P]):
    """What one manager knows of pools and rules.

    Shared rules are tried in their order in Redis. A callable is tried right after the last of the shared rules that
    its own manager had added before it, and ahead of all of them where there is none: so one program's `add_pool`
    calls are tried in their order, as in the seed, and alike on every host that runs it.

    Args:
        namespace: of the rules, and of the pools that they name.
        channel: over which the rules are read.
        open_pool: opens a pool by its name.
    """

    def __init__(self, namespace: str, channel: Channel, open_pool: Callable[[str], P]) -> None:
        self._namespace = namespace
        self._routes = RouteFlows(channel, namespace)
        self._clock = channel.clock
        self._open_pool = open_pool
        self._pools: dict[str, P] = {}
        self._default: P | None = None
        self._local: tuple[LocalMatch[P], ...] = ()
        self._added: frozenset[Route] = frozenset()
        self._entries: tuple[Entry, ...] = ()
        self._steps: tuple[Route | LocalMatch[P], ...] = ()
        self._read_at = self._changed_at = float("-inf")

    # -- pools ---------------------------------------------------------------------------------------------------

    def pool(self, name: str) -> P:
        """The pool of that name; the same object each time."""
        found = self._pools.get(name)
        if found is None:
            found = self._pools.setdefault(name, self._open_pool(name))
        return found

    @property
    def default(self) -> P:
        """The pool that serves the hosts for which no rule holds."""
        return self.pool("default") if self._default is None else self._default

    def set_default(self, pool: P | None) -> None:
        """Make a pool the default; None: the shared pool of that name."""
        self._default = pool

    def pools(self) -> Flow[list[P]]:
        """Every pool that this manager knows or that a shared rule names, each once: by rule, by name, the default."""
        yield from self._refresh(None)
        found = dict.fromkeys([*map(self._pool_of, self._steps), *self._pools.values()])
        found.pop(self.default, None)
        return [*found, self.default]

    # -- rules ---------------------------------------------------------------------------------------------------

    def add(self, pool: P, match: Any) -> Flow[bool]:
        """Have a pool serve the hosts for which a callable, or any of some rules, holds; whether that is a new rule.

        Raises:
            ConfigError: the match is neither, or other hosts cannot open the pool by its name.
        """
        if callable(match):
            self._local = (*self._local, LocalMatch(match, pool, self._added))
            self._arrange()
            return False
        route = Route(self._shared_name(pool), rules_of(match))
        is_new = yield from self._routes.add(route)
        self._added |= {route}
        self._pools[route.pool] = pool
        self._changed_at = self._clock()
        return is_new

    def _shared_name(self, pool: P) -> str:
        if pool.name.startswith(PRIVATE_PREFIX):
            raise ConfigError(
                "a rule that all hosts share needs a pool that they can open: give it a name (AccountPool(name=...)), "
                "or pass a callable, which stays in this process"
            )
        if pool.namespace != self._namespace:
            raise ConfigError(
                f"pool {pool.name!r} is in namespace {pool.namespace!r}, and this manager's rules are in "
                f"{self._namespace!r}: a rule that all hosts share needs both in the same"
            )
        return pool.name

    def remove(self, name: str, match: Any) -> Flow[int]:
        """Take away a callable or rules of a pool, or with None all of them; how many there were."""
        rules = None if match is None or callable(match) else rules_of(match)
        removed = 0
        if not callable(match):
            removed = yield from self._routes.remove(name, rules)
            self._added = frozenset(
                route for route in self._added if route.pool != name or rules not in (None, route.rules)
            )
            self._changed_at = self._clock()
        if rules is None:
            kept = tuple(one for one in self._local if one.pool.name != name or match not in (None, one.match))
            removed += len(self._local) - len(kept)
            self._local = kept
            self._arrange()
        return removed

    def routes(self) -> Flow[list[Route]]:
        """The shared rules as they are now, in their order."""
        _, entries = yield from self._routes.read()
        return [entry.route for entry in entries]

    def reset(self) -> Flow[None]:
        """Forget all pools and callables, and remove the shared rules for every host."""
        yield from self._routes.clear()
        self._pools, self._default, self._local, self._added = {}, None, (), frozenset()
        self._entries, self._steps = (), ()
        self._changed_at = self._clock()

    # -- choosing ------------------------------------------------------------------------------------------------

    def choose(self, host: Any, deadline: float | None = None) -> Flow[P]:
        """The pool that serves a host: the first whose callable returns True or whose rule holds, else the default.

        Args:
            host: a string, or an object (see `redispool.hosts`); a callable gets it as it is.
            deadline: until when to ride out an outage, by the monotonic clock.

        Raises:
            ConfigError: it is no host.
            ProtocolMismatch: a shared rule is not understood.
        """
        identity = identify(host)
        yield from self._refresh(deadline)
        for step in self._steps:
            if step.matches(identity) if isinstance(step, Route) else step.match(host) is True:
                return self._pool_of(step)
        return self.default

    def _refresh(self, deadline: float | None) -> Flow[None]:
        """Read the shared rules, unless that was done a moment ago."""
        if self._read_at >= max(self._changed_at, self._clock() - MAX_AGE):
            return
        asked, entries = yield from self._routes.read(deadline)
        if asked >= self._read_at:  # another thread may have read them since
            self._entries, self._read_at = entries, asked
            self._arrange()

    def _arrange(self) -> None:
        """Set the shared rules and the callables in the order in which they are tried."""
        places: dict[Route, int] = {}
        for place, entry in enumerate(self._entries, 1):
            places.setdefault(entry.route, place)
        placed: list[tuple[int, Route | LocalMatch[P]]] = [(place, route) for route, place in places.items()]
        placed += [(max((places.get(route, 0) for route in one.after), default=0), one) for one in self._local]
        placed.sort(key=itemgetter(0))  # it is stable: a callable comes after the rule at its place
        self._steps = tuple(step for _, step in placed)

    def _pool_of(self, step: Route | LocalMatch[P]) -> P:
        return self.pool(step.pool) if isinstance(step, Route) else step.pool
