"""A pool of any size, spread over the primaries of a cluster, for callers that block."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from redispool.connect import client_from, shared_client
from redispool.discretion import discreet
from redispool.pool import AccountPool
from redispool.stripes import Stripes, check_pool_options, stripe_names
from redispool.terms import Choice, check_error_classes, name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import redis as redis_py

    from redispool.account import Account
    from redispool.lease import Handle
    from redispool.protocol.commands import Flow
    from redispool.status import PoolStatus

T = TypeVar("T")


class StripedPool:
    """One logical pool that consists of several, its stripes, each in a cluster slot of its own.

    One pool is as fast as one server. This is for what is larger: an account belongs to the stripe that its name says;
    a worker draws from its own stripe, from another if that has none free, and waits in line at its own if none has.
    Stripes that do not answer are gone round.

    What it gives up: accounts take turns, and waiters are served first come, first served, within a stripe, not across
    them. An account that comes free at another stripe is taken there by who asks first, or by who waits here: he looks
    at four others once a second, in turn, and keeps his place in line meanwhile. Where more than 50 wait in a process,
    each looks less often, every ten seconds at the least. Rules hold for each stripe by itself, `max_rate` and
    `max_per_owner` too.

    Args:
        name: the name of the pool; its stripes are the pools `NAME:1ofN`, `NAME:2ofN`, ...
        stripes: how many, 1 to 1024: the same on every host. Some for each primary of the cluster are enough.
        home: the number of this worker's own stripe, from 0; None: any, by lot, another one in each process.
        redis: a URL, or a client of redis-py; default: the environment variable REDISPOOL_URL, else
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
        redis: str | redis_py.Redis | redis_py.RedisCluster | None = None,
        **pool_options: Any,
    ) -> None:
        names = stripe_names(name, stripes)
        check_pool_options(pool_options)
        client = shared_client(client_from(redis))  # a cluster's knows all nodes, and has connections to each
        self._stripes = Stripes(name, [AccountPool(name=one, redis=client, **pool_options) for one in names], home)

    def __repr__(self) -> str:
        return f"<StripedPool {self.name!r} of {len(self.stripes)} stripes>"

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

    def acquire_account(
        self,
        account: Account | str | None = None,
        owner: object = None,
        *,
        timeout: float | None = None,
        ttl: float | None = None,
        priority: int = 0,
        **choice: Unpack[Choice],
    ) -> Handle:
        """Take the next account in turn of the own stripe, or of another; see `AccountPool.acquire_account`.

        A preferred account is looked for in its stripe; with `prefer=True` an owner begins at the same one each time.

        Raises:
            AcquireTimeout: no account came free in time.
            PoolEmpty: no stripe has accounts; no account carries the labels.
            PoolExhausted: all that could be had is quarantined.
            redis.RedisError: the stripes that may have what is wanted did not answer in time.
            UnknownAccount: the account asked for is not in the pool.
        """
        handle: Handle = self._run(self._stripes.acquire(account, owner, timeout, ttl, priority, choice))
        return handle

    @contextmanager
    def lease(
        self,
        account: Account | str | None = None,
        owner: object = None,
        *,
        timeout: float | None = None,
        ttl: float | None = None,
        priority: int = 0,
        bad_on: tuple[type[BaseException], ...] = (),
        **choice: Unpack[Choice],
    ) -> Iterator[Handle]:
        """`acquire_account` for a `with` block, at the end of which the account is released; see `AccountPool.lease`.

        Raises:
            LeaseLost: the lease ended before the block did, and the block did not raise itself.
        """
        bad = check_error_classes(bad_on)
        handle = self.acquire_account(account, owner, timeout=timeout, ttl=ttl, priority=priority, **choice)
        try:
            yield handle
        except BaseException as error:
            self._run(self._stripes.leave(handle, error, bad))
            raise
        self._run(self._stripes.leave(handle, None, bad))

    def release_accounts(self, owner: object) -> int:
        """Release everything that the owner holds, from any host; how many accounts that was."""
        return self._run(self._stripes.release_owner(owner))

    def add_account(self, accounts: Account | Iterable[Account]) -> int:
        """Add one or more accounts, each to the stripe that its name says; how many were new.

        One cannot be renamed afterwards (ConfigError) to what belongs to another stripe: remove it, and add it anew.
        """
        return self._run(self._stripes.add(accounts))

    def remove_account(self, accounts: Account | str | Iterable[Account | str]) -> None:
        """Remove accounts; one that is held is gone when its holder releases it.

        Raises:
            UnknownAccount: one of them is not in the pool; none has been removed.
        """
        self._run(self._stripes.remove(accounts))

    def has_account(self, account: Account | str) -> bool:
        """Whether the account is in the pool."""
        return self._run(self._stripes.has(account))

    __contains__ = has_account

    def get_account_from_name(self, name: str) -> Account | None:
        """The account with the given name, or None."""
        found: Account | None = self._run(self._stripes.find(name))
        return found

    def n_accounts(self) -> int:
        """How many accounts are in the pool."""
        return self._run(self._stripes.count())

    __len__ = n_accounts

    def __bool__(self) -> bool:
        return True  # a pool without accounts is still a pool

    def reset(self) -> None:
        """Remove all accounts, end all leases, and send those who wait away (`PoolEmpty`)."""
        self._run(self._stripes.reset())

    def status(self) -> PoolStatus:
        """All stripes as one pool; each of them was looked at in an instant of its own."""
        return self._run(self._stripes.status())

    def _run(self, flow: Flow[T]) -> T:
        return self.stripes[0].run(flow)  # it only asks the stripes to run flows of their own
