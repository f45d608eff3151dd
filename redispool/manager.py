"""Which pool serves which host, for callers that block."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from redispool.account import Account
from redispool.arguments import check_account_name, check_namespace, check_pool_name, check_seconds
from redispool.connect import client_from, private_client
from redispool.drivers import Wire, run
from redispool.errors import ConfigError, UnknownAccount
from redispool.hosts import own_account
from redispool.pool import AccountPool
from redispool.protocol.channel import Channel
from redispool.routing import Router

if TYPE_CHECKING:
    from collections.abc import Iterable

    import redis as redis_py

    from redispool.protocol.commands import Flow
    from redispool.protocol.routes import Route

T = TypeVar("T")


class AccountManager:
    """Chooses the pool that serves a host, as `Exscript.account.AccountManager` does, alike on every host.

    The order is: the host's own account; the first pool whose match holds; the default pool. A match is a callable,
    known to this process only, or a rule, which is data in Redis and known to every host within half a second.
    Rules are tried in the order in which they were added; a callable right after the rule that this manager added
    last before it, and before all rules if there is none.

    Args:
        redis: a URL, or a client of redis-py; default: the environment variable REDISPOOL_URL, else
            redis://localhost:6379/0.
        namespace: what the names of all keys begin with.
        **pool_options: further arguments of `AccountPool` (ttl, cipher, ...), for the pools that the manager opens.

    Raises:
        ConfigError: an argument makes no sense; the message says which.
    """

    def __init__(
        self,
        *,
        redis: str | redis_py.Redis | redis_py.RedisCluster | None = None,
        namespace: str = "redispool",
        **pool_options: Any,
    ) -> None:
        own = sorted({"name", "accounts"} & pool_options.keys())
        if own:
            raise ConfigError(f"{own[0]} is of one pool, not of all that a manager opens; see AccountManager.pool()")
        self._namespace = check_namespace(namespace)
        self._options = pool_options
        self._client = client_from(redis)
        self._wire = Wire(private_client(self._client))
        channel = Channel(patience=pool_options.get("patience", 30.0))
        self._router: Router[AccountPool] = Router(self._namespace, channel, self._open)
        self._router.pool("default")  # so that a bad option is found now

    def __repr__(self) -> str:
        return f"<AccountManager of namespace {self._namespace!r}>"

    def _open(self, name: str) -> AccountPool:
        return AccountPool(name=name, redis=self._client, namespace=self._namespace, **self._options)

    def _run(self, flow: Flow[T]) -> T:
        return run(flow, self._wire)

    # -- acquire and release -------------------------------------------------------------------------------------

    def acquire_account(
        self,
        account: Account | str | None = None,
        owner: object = None,
        *,
        timeout: float | None = None,
        ttl: float | None = None,
        priority: int = 0,
    ) -> Account:
        """Acquire the account given, from whichever pool has it; or the next in turn of the default pool.

        From the heritage. An account in no pool is locked in this process only, as its own `acquire()` does, and
        returned itself.

        Args:
            account: the account wanted, or its name; None for the next in turn.
            owner: who holds it (see `AccountPool.acquire_account`).
            timeout: seconds to wait; None waits for ever, 0 does not wait.
            ttl: seconds that the lease lives without renewal; None for the pool's.
            priority: -1000 to 1000; higher is served first.

        Raises:
            AcquireTimeout: the account did not come free in time.
            PoolEmpty: none was asked for, and the default pool has no accounts.
            UnknownAccount: a name was given that is in no pool.
        """
        if account is None:
            return self.default_pool.acquire_account(None, owner, timeout=timeout, ttl=ttl, priority=priority)
        name = _name_of(account)
        patience = None if timeout is None else check_seconds("timeout", timeout)
        pool = self._pool_of(account, name)
        if pool is not None:
            return pool.acquire_account(name, owner, timeout=timeout, ttl=ttl, priority=priority)
        if isinstance(account, str):
            raise UnknownAccount(f"account {account!r} is in no pool of this manager")
        return _acquire_locally(account, patience)

    def _pool_of(self, account: Any, name: str) -> AccountPool | None:
        """The pool that has an account: the one it was added to or came from, else the first by the order of rules."""
        home = getattr(account, "_home", None)
        if isinstance(home, AccountPool) and home.has_account(name):
            return home
        return next((pool for pool in self._run(self._router.pools()) if pool.has_account(name)), None)

    def acquire_account_for(
        self,
        host: Any,
        owner: object = None,
        *,
        timeout: float | None = None,
        ttl: float | None = None,
        priority: int = 0,
    ) -> Account:
        """Acquire an account for a host: its own if it brings one, else the next in turn of the pool that serves it.

        From the heritage. The first match decides, also where its pool is empty.

        Args:
            host: a string, or anything with get_name() or get_address(), name or hostname; callables get it as it is.
            owner: who holds the account (see `AccountPool.acquire_account`).
            timeout: seconds to wait; None waits for ever, 0 does not wait.
            ttl: seconds that the lease lives without renewal; None for the pool's.
            priority: -1000 to 1000; higher is served first.

        Raises:
            AcquireTimeout: no account came free in time.
            PoolEmpty: the pool that serves the host has no accounts.
            ProtocolMismatch: a rule in Redis is not understood; the message shows it.
            ConfigError: it is no host, or a rule is a regular expression and RE2 is not installed.
        """
        account = own_account(host)
        if account is not None:
            return self.acquire_account(account, owner, timeout=timeout, ttl=ttl, priority=priority)
        deadline = None if timeout is None else time.monotonic() + check_seconds("timeout", timeout)
        pool = self._run(self._router.choose(host, deadline))
        left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        return pool.acquire_account(None, owner, timeout=left, ttl=ttl, priority=priority)

    def release_accounts(self, owner: object) -> int:
        """Release everything that the owner holds in any pool of this manager, from any host.

        From the heritage. The pools are those that it knows, and those that the rules in Redis name.

        Returns:
            How many accounts that was.
        """
        return sum(pool.release_accounts(owner) for pool in self._run(self._router.pools()))

    # -- pools and rules -----------------------------------------------------------------------------------------

    @property
    def default_pool(self) -> AccountPool:
        """The pool that serves the hosts that no match holds for: the shared pool named 'default', or `add_pool`'s."""
        return self._router.default

    def pool(self, name: str) -> AccountPool:
        """Open the shared pool of that name; the same object each time."""
        return self._router.pool(check_pool_name(name))

    def add_account(self, accounts: Account | Iterable[Account]) -> int:
        """Add one or more accounts to the default pool; how many were new. From the heritage."""
        return self.default_pool.add_account(accounts)

    def add_pool(self, pool: AccountPool | str, match: Any = None) -> None:
        """Have a pool serve the hosts that a match holds for. From the heritage.

        Args:
            pool: the pool, or the name of a shared one.
            match: None makes the pool this manager's default pool. A callable gets the host, and matches where it
                returns `True`; it stays in this process. Anything else is a rule that every host follows from now on,
                also after this process has ended: a glob (the whole name, in upper or lower case), a compiled regular
                expression (found anywhere in the name; see `redispool.protocol.rules` for how its time is bounded),
                a network of `ipaddress` (the host's address; never a DNS lookup), or a sequence of these, of which
                any may hold. A rule that is there already keeps its place.

        Raises:
            ConfigError: the match is none of these, or it is a rule and the pool is private or in another namespace.
        """
        found = self._given(pool)
        if match is None:
            self._router.set_default(found)
        else:
            self._run(self._router.add(found, match))

    def remove_pool(self, pool: AccountPool | str, match: Any = None) -> int:
        """Take back `add_pool`: a rule for every host, a callable for this process.

        Args:
            pool: the pool, or its name. Its accounts and leases are left alone.
            match: what was given to `add_pool`; None for all matches of the pool, also those that other hosts added.
                A pool that is the default is it no more then: the shared one named 'default' is.

        Returns:
            How many matches were taken back.
        """
        name = pool.name if isinstance(pool, AccountPool) else check_pool_name(pool)
        if match is None and self.default_pool.name == name:
            self._router.set_default(None)
        return self._run(self._router.remove(name, match))

    def routes(self) -> list[Route]:
        """The rules that all hosts share, in the order in which they are tried; each has a `pool` and its `rules`."""
        return self._run(self._router.routes())

    def reset(self) -> None:
        """Remove all account pools, for every host.

        From the heritage, where a manager begins anew with an empty default pool. So this removes the rules from
        Redis, **empties the shared pool named 'default'**, and forgets this process's callables and pools; the
        accounts of the other pools are left alone.
        """
        self._run(self._router.reset())
        self.default_pool.reset()

    def get_account_from_hash(self, account_hash: str | int) -> Account | None:
        """The account with the given `account_hash` or `hash(account)`, if any pool has it, else None.

        From the heritage.
        """
        found = (pool.get_account_from_hash(account_hash) for pool in self._run(self._router.pools()))
        return next((account for account in found if account is not None), None)

    def _given(self, pool: Any) -> AccountPool:
        if isinstance(pool, AccountPool):
            return pool
        if isinstance(pool, str):
            return self.pool(pool)
        raise ConfigError(f"an AccountPool or the name of one is needed, not {type(pool).__name__}")


def _name_of(account: Any) -> str:
    if isinstance(account, str):
        return check_account_name(account)
    get_name, acquire = getattr(account, "get_name", None), getattr(account, "acquire", None)
    if not (callable(get_name) and callable(acquire)):  # Exscript's own Account will do
        raise ConfigError(f"an Account or the name of one is needed, not {type(account).__name__}")
    return check_account_name(get_name())


def _acquire_locally(account: Any, timeout: float | None) -> Account:
    """Lock an account that is in no pool, as its own `acquire()` does, but no longer than for the timeout."""
    if isinstance(account, Account) and account._home is None and account.needs_lock:  # noqa: SLF001
        account.lock_locally(timeout)
        account.acquired_event(account)
    else:
        account.acquire()  # it says itself what became of its pool; or it is of Exscript's class
    acquired: Account = account
    return acquired
