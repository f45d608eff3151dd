"""The pool, for callers that block."""

from __future__ import annotations

import os
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from redispool.arguments import check_namespace, check_pool_name, check_seconds
from redispool.connect import client_from, private_client, slice_seconds
from redispool.drivers import Wire, run
from redispool.keeper import keeper
from redispool.lease import Handle, Lease
from redispool.operations import Operations, PoolStatus, check_terms
from redispool.private_pool import private_name, remove_private
from redispool.protocol.channel import PoolChannel
from redispool.protocol.keys import PoolKeys
from redispool.sealing import Cipher, seal_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import redis as redis_py

    from redispool.account import Account
    from redispool.protocol.commands import Flow

T = TypeVar("T")
_KEEPER_TIMEOUT = 1.0  # seconds; one server that hangs must not make the keeper late for the others


class AccountPool:
    """A pool of accounts that every host shares, as `Exscript.account.AccountPool` is shared by threads.

    Args:
        accounts: an account, or a list of them, to begin with (see `add_account`).
        name: the pool's name; the same name (and namespace) on any host is the same pool. None: a private pool,
            removed from Redis when its creator ends.
        redis: a URL, or a client of redis-py; default: the environment variable REDISPOOL_URL, else
            redis://localhost:6379/0.
        namespace: what the names of all keys begin with.
        ttl: seconds that a lease lives without renewal; 0.05 or more.
        auto_renew: whether a background thread renews the leases while this process lives.
        max_lease: seconds that a lease may last in all, however often it is renewed.
        cipher: key, or keys, to seal the credentials with (`cryptography.fernet.Fernet.generate_key()`), or a
            callable that returns them; default: the environment variable REDISPOOL_KEY, else unsealed.
        patience: seconds to ride out an outage where a call has no deadline of its own.

    Raises:
        ConfigError: an argument makes no sense; the message says which.
    """

    def __init__(
        self,
        accounts: Account | Iterable[Account] | None = None,
        *,
        name: str | None = None,
        redis: str | redis_py.Redis | redis_py.RedisCluster | None = None,
        namespace: str = "redispool",
        ttl: float = 60.0,
        auto_renew: bool = True,
        max_lease: float | None = None,
        cipher: Cipher = None,
        patience: float = 30.0,
    ) -> None:
        keys = PoolKeys(check_namespace(namespace), private_name() if name is None else check_pool_name(name))
        terms = check_terms(ttl, auto_renew, max_lease)
        seal = seal_from(cipher)
        check_seconds("patience", patience)
        client = client_from(redis)
        self._wire = Wire(private_client(client))
        channel = PoolChannel(keys, patience=patience)
        self._operations: Operations[Handle] = Operations(
            channel, slice_seconds(self._wire.client), seal, terms, Handle, self, keeper, keep_members=name is None
        )
        self._keeper_wire: Wire | None = None
        if name is None:
            wire = self._wire  # not to hold the pool itself
            weakref.finalize(self, remove_private, lambda: wire, channel, os.getpid())
        if accounts is not None:
            self.add_account(accounts)

    def __repr__(self) -> str:
        return f"<AccountPool {self.name!r}>"

    @property
    def name(self) -> str:
        """The name of the pool."""
        return self._operations.name

    @property
    def namespace(self) -> str:
        """What the names of all its keys begin with."""
        return self._operations.namespace

    # -- acquire and release -------------------------------------------------------------------------------------

    def acquire_account(
        self,
        account: Account | str | None = None,
        owner: object = None,
        *,
        timeout: float | None = None,
        ttl: float | None = None,
        priority: int = 0,
    ) -> Handle:
        """Wait for the next account in turn, or for the one given; lock it and return its handle.

        Args:
            account: the account wanted, or its name; None for the next in turn.
            owner: who holds it, as others see it: a string, the same on every host, or any object of this process;
                None for this host, process and thread.
            timeout: seconds to wait; None waits for ever, 0 does not wait.
            ttl: seconds that the lease lives without renewal; None for the pool's.
            priority: -1000 to 1000; higher is served first. A minute of waiting weighs as much as one step.

        Raises:
            AcquireTimeout: no account came free in time.
            PoolEmpty: the pool has no accounts, or was emptied meanwhile.
            UnknownAccount: the account asked for is not in the pool.
        """
        return self.run(self._operations.acquire(account, owner, timeout, ttl, priority))

    @contextmanager
    def lease(
        self,
        account: Account | str | None = None,
        owner: object = None,
        *,
        timeout: float | None = None,
        ttl: float | None = None,
        priority: int = 0,
    ) -> Iterator[Handle]:
        """`acquire_account` for a `with` block, at the end of which the account is released.

        Raises:
            LeaseLost: the lease ended before the block did, and the block did not raise itself.
        """
        handle = self.acquire_account(account, owner, timeout=timeout, ttl=ttl, priority=priority)
        failed = True
        try:
            yield handle
            failed = False
        finally:
            self.run(self._operations.leave(handle, failed=failed))

    def release_accounts(self, owner: object) -> int:
        """Release everything that the owner holds, from any host; how many accounts that was."""
        return self.run(self._operations.release_owner(owner))

    # -- members -------------------------------------------------------------------------------------------------

    def add_account(
        self, accounts: Account | Iterable[Account], *, progress: Callable[[int, int], None] | None = None
    ) -> int:
        """Add one or more accounts; one whose name is known gets the new credentials, and no second seat.

        Args:
            accounts: an account, or any number of them.
            progress: called with (accounts done, accounts in all) now and then.

        Returns:
            How many were new.
        """
        return self.run(self._operations.add(accounts, progress))

    def remove_account(self, accounts: Account | str | Iterable[Account | str]) -> None:
        """Remove accounts from the rotation; one that is held is gone when its holder releases it.

        Raises:
            UnknownAccount: one of them is not in the pool; none has been removed.
        """
        self.run(self._operations.remove(accounts))

    def reset(self) -> None:
        """Remove all accounts, end all leases, and send those who wait away (`PoolEmpty`)."""
        self.run(self._operations.reset())

    def has_account(self, account: Account | str) -> bool:
        """Whether the account is in the pool."""
        return self.run(self._operations.has(account))

    __contains__ = has_account

    def get_account_from_hash(self, account_hash: str | int) -> Account | None:
        """The account with the given `account_hash` or `hash(account)`, or None."""
        return self.run(self._operations.find_by_hash(account_hash))

    def get_account_from_name(self, name: str) -> Account | None:
        """The account with the given name, or None."""
        return self.run(self._operations.find("name", name))

    def n_accounts(self) -> int:
        """How many accounts are in the pool."""
        return self.run(self._operations.count())

    __len__ = n_accounts

    def __bool__(self) -> bool:
        return True  # a pool without accounts is still a pool

    @property
    def accounts(self) -> list[Account]:
        """The accounts of the pool, in the order in which they were added."""
        return self.run(self._operations.list("members"))

    @property
    def unlocked_accounts(self) -> list[Account]:
        """The accounts with a free seat, in the order in which they will be handed out."""
        return self.run(self._operations.list("rotation"))

    def __iter__(self) -> Iterator[Account]:
        return iter(self.accounts)

    def status(self) -> PoolStatus:
        """How many accounts are free, held, cooling, and each lease with its owner and age."""
        return self.run(self._operations.status())

    # -- what its accounts, its leases and the keeper turn to ----------------------------------------------------

    @property
    def operations(self) -> Operations[Handle]:
        """What the pool can do, as flows."""
        return self._operations

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        return run(flow, self._wire)

    def renew_leases(self, leases: list[Lease]) -> list[Lease]:
        """Renew leases in one call, and say which are over; what the keeper does."""
        if self._keeper_wire is None:
            self._keeper_wire = Wire(private_client(self._wire.client, socket_timeout=_KEEPER_TIMEOUT))
        return run(self._operations.renew(leases), self._keeper_wire)

    def abandon(self, lease: Lease) -> None:
        """Leave it to the keeper to release a lease."""
        keeper().abandon(lease)
