"""Which pool serves which host, for callers that block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from redispool.arguments import check_pool_name
from redispool.connect import client_from, private_client
from redispool.discretion import discreet
from redispool.drivers import Wire, run
from redispool.management import Management
from redispool.pool import AccountPool

if TYPE_CHECKING:
    from collections.abc import Iterable

    import redis as redis_py

    from redispool.account import Account
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

    @discreet
    def __init__(
        self,
        *,
        redis: str | redis_py.Redis | redis_py.RedisCluster | None = None,
        namespace: str = "redispool",
        **pool_options: Any,
    ) -> None:
        self._client = client_from(redis)
        self._wire = Wire(private_client(self._client))

        @discreet
        def open_pool(name: str) -> AccountPool:
            return AccountPool(name=name, redis=self._client, namespace=namespace, **pool_options)

        self._management = Management(namespace, pool_options, AccountPool, open_pool, asynchronous=False)
        self._namespace = namespace

    def __repr__(self) -> str:
        return f"<AccountManager of namespace {self._namespace!r}>"

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
        return self._run(self._management.acquire(account, owner, timeout, ttl, priority))

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
        return self._run(self._management.acquire_for(host, owner, timeout, ttl, priority))

    def release_accounts(self, owner: object) -> int:
        """Release everything that the owner holds in any pool of this manager, from any host.

        From the heritage. The pools are those that it knows, and those that the rules in Redis name.

        Returns:
            How many accounts that was.
        """
        return self._run(self._management.release_owner(owner))

    # -- pools and rules -----------------------------------------------------------------------------------------

    @property
    def default_pool(self) -> AccountPool:
        """The pool that serves the hosts that no match holds for: the shared pool named 'default', or `add_pool`'s."""
        return self._management.router.default

    def pool(self, name: str) -> AccountPool:
        """Open the shared pool of that name; the same object each time."""
        return self._management.router.pool(check_pool_name(name))

    def pool_for(self, host: Any) -> AccountPool:
        """The pool that serves a host: the first whose match holds, else the default pool.

        Raises:
            ProtocolMismatch, ConfigError: see `acquire_account_for`.
        """
        return self._run(self._management.pool_for(host))

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
        self._run(self._management.add_pool(pool, match))

    def remove_pool(self, pool: AccountPool | str, match: Any = None) -> int:
        """Take back `add_pool`: a rule for every host, a callable for this process.

        Args:
            pool: the pool, or its name. Its accounts and leases are left alone.
            match: what was given to `add_pool`; None for all matches of the pool, also those that other hosts added.
                A pool that is the default is it no more then: the shared one named 'default' is.

        Returns:
            How many matches were taken back.
        """
        return self._run(self._management.remove_pool(pool, match))

    def routes(self) -> list[Route]:
        """The rules that all hosts share, in the order in which they are tried; each has a `pool` and its `rules`."""
        return self._run(self._management.router.routes())

    def reset(self) -> None:
        """Remove all account pools, for every host.

        From the heritage, where a manager begins anew with an empty default pool. So this removes the rules from
        Redis, **empties the shared pool named 'default'**, and forgets this process's callables and pools; the
        accounts of the other pools are left alone.
        """
        self._run(self._management.reset())

    def get_account_from_hash(self, account_hash: str | int) -> Account | None:
        """The account with the given `account_hash` or `hash(account)`, if any pool has it, else None.

        From the heritage.
        """
        return self._run(self._management.find_by_hash(account_hash))
