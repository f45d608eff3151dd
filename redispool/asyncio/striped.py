"""A pool of any size, spread over the primaries of a cluster, for callers that await."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast

from redispool.asyncio.connect import client_from
from redispool.asyncio.pool import AccountPool
from redispool.discretion import discreet
from redispool.drivers import arun
from redispool.protocol.commands import Elsewhere
from redispool.stripes import Stripes, check_pool_options, stripe_names
from redispool.terms import Choice, check_error_classes, name_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from typing import Self

    from redispool.account import Account
    from redispool.asyncio.account import Handle
    from redispool.asyncio.connect import Client
    from redispool.protocol.commands import Command, Flow, Pause
    from redispool.status import PoolStatus

T = TypeVar("T")


class _Signpost:
    """Has each stripe run its own flows; needs none of them itself, for any may be out of reach."""

    async def perform(self, command: Command) -> Any:
        """Carry out one command; its reply."""
        if isinstance(command, Elsewhere):
            return await command.home.run(command.flow)
        return await asyncio.sleep(cast("Pause", command).seconds)


class StripedPool:
    """The pool of `redispool.StripedPool`, for asyncio.

    Close its connections with `await pool.aclose()`, or use it in `async with StripedPool(...) as pool`.

    Args:
        name: the name of the pool; its stripes are the pools `NAME:1ofN`, `NAME:2ofN`, ...
        stripes: how many, 1 to 1024: the same on every host. Some for each primary of the cluster are enough.
        home: the number of this worker's own stripe, from 0; None: any, by lot, another one in each process.
        redis: a URL, or a client of redis.asyncio; default: the environment variable REDISPOOL_URL, else
            redis://localhost:6379/0.
        **pool_options: further arguments of `AccountPool` (namespace, ttl, cipher, cooldown, ...), for each stripe.

    Raises:
        ConfigError: an argument makes no sense; the message says which.
    """

    @discreet
    def __init__(
        self,
        name: str,
        *,
        stripes: int,
        home: int | None = None,
        redis: str | Client | None = None,
        **pool_options: Any,
    ) -> None:
        names = stripe_names(name, stripes)
        check_pool_options(pool_options)
        client = client_from(redis)
        self._stripes = Stripes(name, [AccountPool(name=one, redis=client, **pool_options) for one in names], home)

    def __repr__(self) -> str:
        return f"<StripedPool {self.name!r} of {len(self.stripes)} stripes>"

    async def __aenter__(self) -> Self:
        for pool in self.stripes:
            await pool.__aenter__()  # which gives it its rules, if there are any
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections of this event loop; what is awaited later opens them again."""
        for pool in self.stripes:
            await pool.aclose()

    @property
    def name(self) -> str:
        """The name of the pool."""
        return self._stripes.name

    @property
    def stripes(self) -> tuple[AccountPool, ...]:
        """The pools that it consists of, to rule and to watch each."""
        return self._stripes.pools

    def stripe_of(self, account: Account | str) -> AccountPool:
        """The pool that an account of that name belongs to, whether it is there or not."""
        pool: AccountPool = self._stripes.of(name_of(account))
        return pool

    async def acquire_account(
        self,
        account: Account | str | None = None,
        owner: object = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
        ttl: float | None = None,
        priority: int = 0,
        **choice: Unpack[Choice],
    ) -> Handle:
        """Take the next account in turn of the own stripe, or of another; see `redispool.AccountPool.acquire_account`.

        Raises:
            AcquireTimeout: no account came free in time.
            PoolEmpty: no stripe has accounts; no account carries the labels.
            PoolExhausted: all that could be had is quarantined.
            UnknownAccount: the account asked for is not in the pool.
        """
        handle: Handle = await self._run(self._stripes.acquire(account, owner, timeout, ttl, priority, choice))
        return handle

    @asynccontextmanager
    async def lease(
        self,
        account: Account | str | None = None,
        owner: object = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
        ttl: float | None = None,
        priority: int = 0,
        bad_on: tuple[type[BaseException], ...] = (),
        **choice: Unpack[Choice],
    ) -> AsyncIterator[Handle]:
        """`acquire_account` for an `async with` block, at the end of which the account is released.

        Raises:
            LeaseLost: the lease ended before the block did, and the block did not raise itself.
        """
        bad = check_error_classes(bad_on)
        handle = await self.acquire_account(account, owner, timeout=timeout, ttl=ttl, priority=priority, **choice)
        try:
            yield handle
        except BaseException as error:
            await self._run(self._stripes.leave(handle, error, bad))
            raise
        await self._run(self._stripes.leave(handle, None, bad))

    async def release_accounts(self, owner: object) -> int:
        """Release everything that the owner holds, from any host; how many accounts that was."""
        return await self._run(self._stripes.release_owner(owner))

    async def add_account(self, accounts: Account | Iterable[Account]) -> int:
        """Add one or more accounts, each to the stripe that its name says; how many were new."""
        return await self._run(self._stripes.add(accounts))

    async def remove_account(self, accounts: Account | str | Iterable[Account | str]) -> None:
        """Remove accounts; one that is held is gone when its holder releases it.

        Raises:
            UnknownAccount: one of them is not in the pool; none has been removed.
        """
        await self._run(self._stripes.remove(accounts))

    async def has_account(self, account: Account | str) -> bool:
        """Whether the account is in the pool."""
        return await self._run(self._stripes.has(account))

    async def get_account_from_name(self, name: str) -> Account | None:
        """The account with the given name, or None."""
        found: Account | None = await self._run(self._stripes.find(name))
        return found

    async def n_accounts(self) -> int:
        """How many accounts are in the pool."""
        return await self._run(self._stripes.count())

    def __bool__(self) -> bool:
        return True  # a pool without accounts is still a pool

    async def reset(self) -> None:
        """Remove all accounts, end all leases, and send those who wait away (`PoolEmpty`)."""
        await self._run(self._stripes.reset())

    async def status(self) -> PoolStatus:
        """All stripes as one pool; each of them was looked at in an instant of its own."""
        return await self._run(self._stripes.status())

    async def _run(self, flow: Flow[T]) -> T:
        return await arun(flow, _Signpost())
