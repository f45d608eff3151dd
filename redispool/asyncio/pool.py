"""The pool, for callers that await."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from redispool import drivers
from redispool.arguments import check_namespace, check_pool_name, check_seconds
from redispool.asyncio.account import Handle
from redispool.asyncio.connect import client_from, slice_seconds
from redispool.asyncio.keeper import abandon, keeper
from redispool.asyncio.wire import Wires, WiresByLoop
from redispool.connect import connect, private_client, replicas_of, user_of
from redispool.discretion import discreet
from redispool.identity import caller_name
from redispool.operations import Operations
from redispool.private_pool import private_name, remove_private
from redispool.protocol.channel import PoolChannel
from redispool.protocol.keys import PoolKeys
from redispool.roster import as_accounts
from redispool.sealing import Cipher, seal_from
from redispool.terms import Choice, Policy, check_error_classes, check_policy, check_terms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from datetime import datetime
    from typing import Self

    from redispool.account import Account
    from redispool.asyncio.connect import Client
    from redispool.lease import Lease
    from redispool.protocol.audit import Disagreement
    from redispool.protocol.commands import Flow
    from redispool.status import HistoryEvent, PoolStatus, WaiterInfo

T = TypeVar("T")


class AccountPool:
    """The pool of `redispool.AccountPool`, for asyncio; a pool of either kind and the same name is the same pool.

    It may be made anywhere, also at the top of a module, and be used in any event loop, in several threads too. In
    each it has three connections at most, however many tasks wait. Close them with `await pool.aclose()`, or use it in
    `async with AccountPool(...) as pool`; those that are open when `asyncio.run` ends are closed by then.

    Args:
        accounts: an account, or a list of them, to begin with; they are added before whatever is awaited first.
        name: the pool's name; None: a private pool, removed from Redis by `aclose()`. Without that, it is removed when
            its creator ends, if `redis` is a URL.
        redis: a URL, or a client of redis.asyncio, whose settings are taken over: connections of our own are opened.
        namespace: what the names of all keys begin with.
        ttl: seconds that a lease lives without renewal; 0.05 or more.
        auto_renew: whether a task renews the leases while their event loop runs.
        max_lease: seconds that a lease may last in all, however often it is renewed.
        cipher: key, or keys, to seal the credentials with, or a callable that returns them.
        patience: seconds to ride out an outage where a call has no deadline of its own.
        min_replicas: how many replicas must have a grant before it is answered (see `redispool.AccountPool`).
        policy: rules of the pool, which hold for every host (see `redispool.terms.Policy`).

    Raises:
        ConfigError: an argument makes no sense; the message says which.
    """

    @discreet
    def __init__(
        self,
        accounts: Account | Iterable[Account] | None = None,
        *,
        name: str | None = None,
        redis: str | Client | None = None,
        namespace: str = "redispool",
        ttl: float = 60.0,
        auto_renew: bool = True,
        max_lease: float | None = None,
        cipher: Cipher = None,
        patience: float = 30.0,
        min_replicas: int | None = None,
        **policy: Unpack[Policy],
    ) -> None:
        keys = PoolKeys(check_namespace(namespace), private_name() if name is None else check_pool_name(name))
        terms = check_terms(ttl, auto_renew, max_lease)
        seal = seal_from(cipher)
        first = None if accounts is None else as_accounts(accounts)
        rules = check_policy(policy)
        self._first = (first, rules) if first is not None or rules else None
        client = client_from(redis)
        caller, replicas = partial(caller_name, user_of(client)), replicas_of(client, min_replicas)
        check_seconds("patience", patience)
        channel = PoolChannel(keys, patience=patience, seal=seal, caller=caller, min_replicas=replicas)
        wires = self._wires = WiresByLoop(client)
        self._operations: Operations[Handle] = Operations(
            channel, slice_seconds(client), seal, terms, Handle, self, keeper,
            keep_members=name is None, user=user_of(client), mailbox=lambda: wires.here().commands.mailbox.box,
        )  # fmt: skip
        wires.flows = self._operations.flows
        weakref.finalize(self, wires.close_soon)
        self._remove_at_exit: Callable[[], Any] | None = None
        if name is None and (redis is None or isinstance(redis, str)):
            self._remove_at_exit = weakref.finalize(self, _remove_private, redis, channel, os.getpid())
        self._is_private = name is None

    def __repr__(self) -> str:
        return f"<AccountPool {self.name!r}>"

    def __reduce__(self) -> Any:
        raise TypeError(f"pool {self.name!r} belongs to its process; open it by its name in the other one")

    @property
    def name(self) -> str:
        """The name of the pool."""
        return self._operations.name

    @property
    def namespace(self) -> str:
        """What the names of all its keys begin with."""
        return self._operations.namespace

    async def __aenter__(self) -> Self:
        await self._begin(self._wires.here())
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections of this event loop, and remove the pool if it is private.

        What is awaited later opens them again.
        """
        if self._is_private:
            await self.run(self._operations.leave_no_trace())
        await self._wires.aclose()

    # -- acquire and release -------------------------------------------------------------------------------------

    async def acquire_account(
        self,
        account: Account | str | None = None,
        owner: object = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the contract's; it covers less than asyncio.timeout would
        ttl: float | None = None,
        priority: int = 0,
        **choice: Unpack[Choice],
    ) -> Handle:
        """Wait for the next account in turn, or for the one given; see `redispool.AccountPool.acquire_account`.

        A task that is cancelled while it waits leaves the queue, and what it was granted meanwhile goes back at once.
        """
        return await self.run(self._operations.acquire(account, owner, timeout, ttl, priority, choice))

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

        All arguments but one are those of `acquire_account`: an error of the block that is of a class in `bad_on`
        counts as a failure of the account (`Account.mark_bad`).

        Raises:
            LeaseLost: the lease ended before the block did, and the block did not raise itself.
        """
        bad = check_error_classes(bad_on)
        handle = await self.acquire_account(account, owner, timeout=timeout, ttl=ttl, priority=priority, **choice)
        try:
            yield handle
        except BaseException as error:
            await self.run(self._operations.leave(handle, error, bad))
            raise
        await self.run(self._operations.leave(handle, None, bad))

    async def acquire_accounts(
        self,
        n: int,
        owner: object = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
        ttl: float | None = None,
        priority: int = 0,
        **choice: Unpack[Choice],
    ) -> list[Handle]:
        """Wait for `n` different accounts and lock them all at once, or none; not overtaken, unless reserved ones lack.

        Raises:
            ConfigError: the pool has fewer accounts than that.
            AcquireTimeout, PoolEmpty: see `acquire_account`.
        """
        return await self.run(self._operations.acquire_several(n, owner, timeout, ttl, priority, choice))

    async def acquire_for_cleanup(
        self,
        owner: object = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
        ttl: float | None = None,
    ) -> Handle:
        """Wait for an account that was released in a pool with `cleanup=True`, to make it ready for the next user.

        Released, it goes to the others; if the cleaner dies, or its `with` block raises, it goes to the next cleaner.

        Raises:
            ConfigError: the pool has no `cleanup=True`, so that nothing is to be cleaned.
            AcquireTimeout, PoolEmpty: see `acquire_account`.
        """
        return await self.run(self._operations.acquire_to_clean(owner, timeout, ttl))

    async def release_accounts(self, owner: object) -> int:
        """Release everything that the owner holds, from any host; how many accounts that was."""
        return await self.run(self._operations.release_owner(owner))

    # -- members -------------------------------------------------------------------------------------------------

    async def add_account(
        self, accounts: Account | Iterable[Account], *, progress: Callable[[int, int], None] | None = None
    ) -> int:
        """Add one or more accounts; see `redispool.AccountPool.add_account`."""
        return await self.run(self._operations.add(accounts, progress))

    async def remove_account(self, accounts: Account | str | Iterable[Account | str]) -> None:
        """Remove accounts from the rotation; see `redispool.AccountPool.remove_account`."""
        await self.run(self._operations.remove(accounts))

    async def reseal(self, *, progress: Callable[[int, int], None] | None = None) -> int:
        """Seal every record anew with the first key of the pool's cipher; see `redispool.AccountPool.reseal`."""
        return await self.run(self._operations.reseal(progress))

    async def reset(self) -> None:
        """Remove all accounts, end all leases, and send those who wait away (`PoolEmpty`)."""
        await self.run(self._operations.reset())

    async def has_account(self, account: Account | str) -> bool:
        """Whether the account is in the pool."""
        return await self.run(self._operations.has(account))

    async def get_account_from_hash(self, account_hash: str | int) -> Account | None:
        """The account with the given `account_hash` or `hash(account)`, or None."""
        return await self.run(self._operations.find_by_hash(account_hash))

    async def get_account_from_name(self, name: str) -> Account | None:
        """The account with the given name, or None."""
        return await self.run(self._operations.find("name", name))

    async def n_accounts(self) -> int:
        """How many accounts are in the pool; `len` of the blocking one."""
        return await self.run(self._operations.oversight.count())

    async def accounts(self) -> list[Account]:
        """The accounts of the pool, in the order in which they were added."""
        return await self.run(self._operations.in_order("members"))

    async def unlocked_accounts(self) -> list[Account]:
        """The accounts with a free seat, in the order in which they will be handed out."""
        return await self.run(self._operations.in_order("rotation"))

    async def __aiter__(self) -> AsyncIterator[Account]:
        for account in await self.accounts():
            yield account

    # -- ruling and watching it ------------------------------------------------------------------------------------

    async def configure(self, **policy: Unpack[Policy]) -> Policy:
        """Change rules of the pool, for every host and at once; see `Policy`. Gives all that hold now.

        Raises:
            ConfigError: a value makes no sense; nothing has changed.
        """
        return await self.run(self._operations.oversight.configure(check_policy(policy)))

    async def quarantine(self, account: Account | str, reason: str = "") -> None:
        """Take an account out of the rotation until `restore`; who holds it keeps it until its release.

        Raises:
            UnknownAccount: it is not in the pool.
        """
        await self.run(self._operations.oversight.quarantine(account, reason))

    async def restore(self, account: Account | str) -> None:
        """Bring an account back into the rotation, its failures and uses forgotten.

        Raises:
            UnknownAccount: it is not in the pool.
        """
        await self.run(self._operations.oversight.restore(account))

    async def reserve(
        self, account: Account | str, owner: object, until: float | datetime, note: str = "", *, force: bool = False
    ) -> None:
        """Take an account out for a person, with all its seats.

        Args:
            account: the account, or its name.
            owner: who has it, by name.
            until: a datetime with its time zone, or seconds since 1970; then it comes back by itself.
            note: what for; `status` shows it.
            force: whether to take it from who holds it; their leases are lost, and `history` tells.

        Raises:
            UnknownAccount: it is not in the pool.
            ConfigError: it is held, and there is no force; or it needs no lock; or the time is past.
        """
        await self.run(self._operations.oversight.reserve(account, owner, until, note, force))

    async def release(self, account: Account | str, owner: object = None, *, force: bool = False) -> int:
        """Release what the owner holds of an account (or has reserved), from any host; how many leases that was.

        Args:
            account: the account, or its name.
            owner: who holds it; None for this host, process and thread.
            force: whether to release it whoever holds it; `history` tells.

        Raises:
            UnknownAccount: it is not in the pool.
            NotHeld: the owner holds nothing of it.
        """
        return await self.run(self._operations.oversight.release(account, owner, force))

    async def status(self) -> PoolStatus:
        """How many accounts are free, held, cooling, quarantined; and each lease with its owner and age."""
        return await self.run(self._operations.oversight.status())

    async def waiting(self) -> list[WaiterInfo]:
        """Who waits, in the order in which they will be served, with estimated waiting times."""
        return await self.run(self._operations.oversight.waiting())

    async def history(self, account: Account | str | None = None, *, limit: int = 100) -> list[HistoryEvent]:
        """The last events of an account, or of all, the newest first; so many at most, and as far as they are kept."""
        return await self.run(self._operations.oversight.history(account, limit))

    async def audit(self) -> list[Disagreement]:
        """Check the pool's keys against each other, while it is in use, and change nothing; what contradicts itself.

        There is nothing to be found but what others wrote to these keys, or a defect of redispool. It is done in
        pages, so it holds nobody up. What needs a look at all keys of the server is left out: mailboxes and owners'
        entries that nobody refers to; and turns and free seats are counted in pools of 1,000 accounts at most.
        """
        return await self.run(self._operations.oversight.audit())

    # -- what its accounts, its leases and the keeper turn to ----------------------------------------------------

    @property
    def operations(self) -> Operations[Handle]:
        """What the pool can do, as flows."""
        return self._operations

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        wires = self._wires.here()
        if self._first is not None:
            await self._begin(wires)
        return await drivers.arun(flow, wires.commands)

    async def _begin(self, wires: Wires) -> None:
        """Give the pool the policy and the accounts that it was made with."""
        async with wires.opening:
            if self._first is not None:
                await drivers.arun(self._operations.begin(*self._first), wires.commands)
                self._first = None

    async def renew_leases(self, leases: list[Lease]) -> list[Lease]:
        """Renew leases in one call, and say which are over; what the keeper does."""
        return await drivers.arun(self._operations.renew(leases), self._wires.here().keeper)

    async def give_back(self, lease: Lease) -> None:
        """Release a lease whose handle is gone, if that can be done at once; what the keeper does."""
        await drivers.arun(self._operations.release(lease, patience=0.0), self._wires.here().keeper)

    def abandon(self, lease: Lease) -> None:
        """Leave it to the keeper to release a lease."""
        abandon(lease)


def _remove_private(url: str | None, channel: PoolChannel, creator: int) -> None:
    """Remove a private pool whose creator did not; where an event loop runs, not in its thread."""

    def open_wire() -> drivers.Wire:
        return drivers.Wire(private_client(connect(url)))

    if asyncio._get_running_loop() is None:  # noqa: SLF001 - the public one raises where there is none
        remove_private(open_wire, channel, creator)
    else:
        threading.Thread(target=remove_private, args=(open_wire, channel, creator)).start()
