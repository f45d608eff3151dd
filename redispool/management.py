"""What a manager can do, as flows: which pool serves which host, and what is asked of which pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from redispool.account import Account
from redispool.arguments import check_account_name, check_namespace, check_pool_name, check_seconds
from redispool.errors import ConfigError, UnknownAccount
from redispool.hosts import own_account
from redispool.protocol.channel import Channel
from redispool.protocol.commands import Elsewhere
from redispool.protocol.routes import Route, encode_route
from redispool.protocol.rules import rules_of
from redispool.routing import RoutedPool, Router

if TYPE_CHECKING:
    from collections.abc import Callable

    from redispool.protocol.commands import Flow
    from redispool.protocol.rules import Rule


class ManagedPool(RoutedPool, Protocol):
    """A pool, as its manager sees it."""

    @property
    def operations(self) -> Any:
        """What the pool can do, as flows."""

    def run(self, flow: Any) -> Any:
        """Run a flow to its end, or give what awaits that."""


P = TypeVar("P", bound=ManagedPool)


class Management(Generic[P]):
    """What one manager does.

    Args:
        namespace: what the names of all keys begin with.
        pool_options: what the pools are opened with.
        pool_type: the class of the pools that it works with.
        open_pool: opens a pool by its name.
        asynchronous: whether the accounts that it hands out have coroutines for methods.
    """

    def __init__(
        self,
        namespace: str,
        pool_options: dict[str, Any],
        pool_type: type[P],
        open_pool: Callable[[str], P],
        *,
        asynchronous: bool,
    ) -> None:
        own = sorted({"name", "accounts"} & pool_options.keys())
        if own:
            raise ConfigError(f"{own[0]} is of one pool, not of all that a manager opens; see AccountManager.pool()")
        channel = Channel(patience=check_seconds("patience", pool_options.get("patience", 30.0)))
        self._clock = channel.clock
        self._pool_type = pool_type
        self._asynchronous = asynchronous
        self.router: Router[P] = Router(check_namespace(namespace), channel, open_pool)
        self.router.pool("default")  # so that a bad option is found now

    # -- accounts ------------------------------------------------------------------------------------------------

    def acquire(self, account: Any, owner: Any, timeout: Any, ttl: Any, priority: Any) -> Flow[Account]:
        """Acquire the account given, from whichever pool has it; or the next in turn of the default pool."""
        if account is None:
            return (yield from _acquire_from(self.router.default, None, owner, timeout, ttl, priority))
        name = _name_of(account)
        patience = None if timeout is None else check_seconds("timeout", timeout)
        pool = yield from self._pool_of(account, name)
        if pool is not None:
            return (yield from _acquire_from(pool, name, owner, timeout, ttl, priority))
        if isinstance(account, str):
            raise UnknownAccount(f"account {account!r} is in no pool of this manager")
        return (yield from self._acquire_locally(account, patience))

    def acquire_for(self, host: Any, owner: Any, timeout: Any, ttl: Any, priority: Any) -> Flow[Account]:
        """Acquire an account for a host: its own if it brings one, else one of the pool that serves it."""
        account = own_account(host)
        if account is not None:
            return (yield from self.acquire(account, owner, timeout, ttl, priority))
        deadline = None if timeout is None else self._clock() + check_seconds("timeout", timeout)
        pool = yield from self.router.choose(host, deadline)
        left = None if deadline is None else max(deadline - self._clock(), 0.0)
        return (yield from _acquire_from(pool, None, owner, left, ttl, priority))

    def pool_for(self, host: Any) -> Flow[P]:
        """The pool that serves a host."""
        return (yield from self.router.choose(host))

    def _pool_of(self, account: Any, name: str) -> Flow[P | None]:
        """The pool that has an account: the one it was added to or came from, else the first by the order of rules."""
        home = getattr(account, "_home", None)
        if isinstance(home, self._pool_type) and (yield Elsewhere(home, home.operations.has(name))):
            return home
        for pool in (yield from self.router.pools()):
            if (yield Elsewhere(pool, pool.operations.has(name))):
                return pool
        return None

    def _acquire_locally(self, account: Any, timeout: float | None) -> Flow[Account]:
        """Lock an account that is in no pool, as its own `acquire()` does, but no longer than for the timeout."""
        own_kind = isinstance(account, Account)
        if self._asynchronous and not (own_kind and account.asynchronous):
            raise ConfigError(
                f"account {account.get_name()!r} is in no pool, and its own acquire() would block the event loop; "
                "add it to a pool, or give a redispool.asyncio.Account"
            )
        if own_kind:
            yield Elsewhere(account, account.acquiring(timeout=timeout))  # it says itself what became of its pool
        else:
            account.acquire()  # it is of Exscript's class
        acquired: Account = account
        return acquired

    def release_owner(self, owner: Any) -> Flow[int]:
        """Release everything that the owner holds in any pool; how many accounts that was."""
        count = 0
        for pool in (yield from self.router.pools()):
            count += yield Elsewhere(pool, pool.operations.release_owner(owner))
        return count

    def find_by_hash(self, account_hash: Any) -> Flow[Account | None]:
        """The account with that hash, if any pool has it."""
        for pool in (yield from self.router.pools()):
            account: Account | None = yield Elsewhere(pool, pool.operations.find_by_hash(account_hash))
            if account is not None:
                return account
        return None

    # -- pools and rules -----------------------------------------------------------------------------------------

    def add_pool(self, pool: Any, match: Any) -> Flow[None]:
        """Have a pool serve the hosts that a match holds for; None: those that no match holds for."""
        found = self._given(pool)
        if match is None:
            self.router.set_default(found)
        elif (yield from self.router.add(found, match)):
            yield _noted(found, "routed", rules_of(match))

    def remove_pool(self, pool: Any, match: Any) -> Flow[int]:
        """Take back `add_pool`; how many matches that were."""
        name = pool.name if isinstance(pool, self._pool_type) else check_pool_name(pool)
        if match is None and self.router.default.name == name:
            self.router.set_default(None)
        removed = yield from self.router.remove(name, match)
        if removed and not callable(match):
            yield _noted(self.router.pool(name), "unrouted", () if match is None else rules_of(match))
        return removed

    def reset(self) -> Flow[None]:
        """Remove the rules, empty the shared default pool, and forget the pools and callables of this process."""
        yield from self.router.reset()
        yield _noted(self.router.default, "unrouted", ())
        yield Elsewhere(self.router.default, self.router.default.operations.reset())

    def _given(self, pool: Any) -> P:
        if isinstance(pool, self._pool_type):
            return pool
        if isinstance(pool, str):
            return self.router.pool(check_pool_name(pool))
        raise ConfigError(f"an AccountPool or the name of one is needed, not {type(pool).__name__}")


def _noted(pool: ManagedPool, event: str, rules: tuple[Rule, ...]) -> Elsewhere:
    """Tell the pool's audit trail of rules that were added or removed."""
    what = encode_route(Route(pool.name, rules)) if rules else "all rules"
    return Elsewhere(pool, pool.operations.oversight.note(event, what))


def _acquire_from(pool: ManagedPool, account: Any, owner: Any, timeout: Any, ttl: Any, priority: Any) -> Flow[Account]:
    handle: Account = yield Elsewhere(pool, pool.operations.acquire(account, owner, timeout, ttl, priority))
    return handle


def _name_of(account: Any) -> str:
    if isinstance(account, str):
        return check_account_name(account)
    get_name, acquire = getattr(account, "get_name", None), getattr(account, "acquire", None)
    if not (callable(get_name) and callable(acquire)):  # Exscript's own Account will do
        raise ConfigError(f"an Account or the name of one is needed, not {type(account).__name__}")
    return check_account_name(get_name())
