"""Which pool serves which host, for callers that await."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from redispool.arguments import check_pool_name
from redispool.asyncio.connect import client_from
from redispool.asyncio.pool import AccountPool
from redispool.asyncio.wire import WiresByLoop
from redispool.discretion import discreet
from redispool.drivers import arun
from redispool.management import Management

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from redispool.account import Account
    from redispool.asyncio.connect import Client
    from redispool.protocol.commands import Flow
    from redispool.protocol.routes import Route

T = TypeVar("T")


class AccountManager:
    """The manager of `redispool.AccountManager`, for asyncio; it follows the same rules, and works with the same pools.

    Args:
        redis: a URL, or a client of redis.asyncio.
        namespace: what the names of all keys begin with.
        **pool_options: further arguments of `redispool.asyncio.AccountPool`, for the pools that the manager opens.

    Raises:
        ConfigError: an argument makes no sense; the message says which.
    """

    @discreet
    def __init__(self, *, redis: str | Client | None = None, namespace: str = "redispool", **pool_options: Any) -> None:
        client = client_from(redis)
        self._opened: list[AccountPool] = []

        @discreet
        def open_pool(name: str) -> AccountPool:
            self._opened.append(AccountPool(name=name, redis=client, namespace=namespace, **pool_options))
            return self._opened[-1]

        self._management = Management(namespace, pool_options, AccountPool, open_pool, asynchronous=True)
        self._namespace = namespace
        self._wires = WiresByLoop(client)
        weakref.finalize(self, self._wires.close_soon)

    def __repr__(self) -> str:
        return f"<AccountManager of namespace {self._namespace!r}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections of this event loop, also of the pools that the manager opened."""
        for pool in self._opened:
            await pool.aclose()
        await self._wires.aclose()

    async def _run(self, flow: Flow[T]) -> T:
        return await arun(flow, self._wires.here().commands)

    # -- acquire and release -------------------------------------------------------------------------------------

    async def acquire_account(
        self,
        account: Account | str | None = None,
        owner: object = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the contract's
        ttl: float | None = None,
        priority: int = 0,
    ) -> Account:
        """Acquire the account given, or the next of the default pool; see `redispool.AccountManager.acquire_account`.

        Raises:
            ConfigError: the account is in no pool, and its own `acquire()` would block the event loop.
        """
        return await self._run(self._management.acquire(account, owner, timeout, ttl, priority))

    async def acquire_account_for(
        self,
        host: Any,
        owner: object = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the contract's
        ttl: float | None = None,
        priority: int = 0,
    ) -> Account:
        """Acquire an account for a host; see `redispool.AccountManager.acquire_account_for`."""
        return await self._run(self._management.acquire_for(host, owner, timeout, ttl, priority))

    async def release_accounts(self, owner: object) -> int:
        """Release everything that the owner holds in any pool of this manager; how many accounts that was."""
        return await self._run(self._management.release_owner(owner))

    # -- pools and rules -----------------------------------------------------------------------------------------

    @property
    def default_pool(self) -> AccountPool:
        """The pool that serves the hosts that no match holds for."""
        return self._management.router.default

    def pool(self, name: str) -> AccountPool:
        """Open the shared pool of that name; the same object each time. Nothing is sent."""
        return self._management.router.pool(check_pool_name(name))

    async def pool_for(self, host: Any) -> AccountPool:
        """The pool that serves a host: the first whose match holds, else the default pool."""
        return await self._run(self._management.pool_for(host))

    async def add_account(self, accounts: Account | Iterable[Account]) -> int:
        """Add one or more accounts to the default pool; how many were new."""
        return await self.default_pool.add_account(accounts)

    async def add_pool(self, pool: AccountPool | str, match: Any = None) -> None:
        """Have a pool serve the hosts that a match holds for; see `redispool.AccountManager.add_pool`."""
        await self._run(self._management.add_pool(pool, match))

    async def remove_pool(self, pool: AccountPool | str, match: Any = None) -> int:
        """Take back `add_pool`; see `redispool.AccountManager.remove_pool`."""
        return await self._run(self._management.remove_pool(pool, match))

    async def routes(self) -> list[Route]:
        """The rules that all hosts share, in the order in which they are tried."""
        return await self._run(self._management.router.routes())

    async def reset(self) -> None:
        """Remove all account pools, for every host; see `redispool.AccountManager.reset`."""
        await self._run(self._management.reset())

    async def get_account_from_hash(self, account_hash: str | int) -> Account | None:
        """The account with the given hash, if any pool has it, else None."""
        return await self._run(self._management.find_by_hash(account_hash))
