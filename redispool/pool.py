"""The pool, for callers that block."""

from __future__ import annotations

import os
import weakref
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from redispool.arguments import check_namespace, check_pool_name, check_seconds
from redispool.connect import client_from, private_client, replicas_of, slice_seconds, user_of
from redispool.discretion import discreet
from redispool.drivers import Wire, run
from redispool.identity import caller_name
from redispool.keeper import keeper
from redispool.lease import Handle, Lease
from redispool.operations import Operations
from redispool.private_pool import private_name, remove_private
from redispool.protocol.channel import PoolChannel
from redispool.protocol.keys import PoolKeys
from redispool.roster import as_accounts
from redispool.sealing import Cipher, seal_from
from redispool.terms import Choice, Policy, check_error_classes, check_policy, check_terms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    import redis as redis_py

    from redispool.account import Account
    from redispool.protocol.audit import Disagreement
    from redispool.protocol.commands import Flow
    from redispool.status import HistoryEvent, PoolStatus, WaiterInfo

T = TypeVar("T")
_KEEPER_TIMEOUT = 1.0  # seconds; one server that hangs must not make the keeper late for the others


class AccountPool:
    """A pool of accounts that every host shares, as `Exscript.account.AccountPool` is shared by threads.

    Args:
        accounts: an account, or a list of them, to begin with (see `add_account`).
        name: the pool's name; the same name (and namespace) on any host is the same pool. None: a private pool,
            removed from Redis when its creator ends.
        redis: a URL, or a client of redis-py; default: the variable REDISPOOL_URL, else redis://localhost:6379/0.
        namespace: what the names of all keys begin with.
        ttl: seconds that a lease lives without renewal; 0.05 or more.
        auto_renew: whether a background thread renews the leases while this process lives.
        max_lease: seconds that a lease may last in all, however often it is renewed.
        cipher: key (`cryptography.fernet.Fernet.generate_key()`) or keys, newest first, to seal the credentials with,
            `file:PATH`, or a callable that returns them (see `redispool.sealing.seal_from`); default: the environment
            variables REDISPOOL_KEY or REDISPOOL_KEY_FILE, else unsealed.
        patience: seconds to ride out an outage where a call has no deadline of its own.
        min_replicas: how many replicas must have a grant, or a renewal, before it is answered; until so many are there
            it waits, as in an outage, and raises ReplicationError in the end. None: as the URL says, else 0.
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
        redis: str | redis_py.Redis | redis_py.RedisCluster | None = None,
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
        check_seconds("patience", patience)
        rules = check_policy(policy)
        client = client_from(redis)
        user = user_of(client)
        caller, replicas = partial(caller_name, user), replicas_of(client, min_replicas)
        channel = PoolChannel(keys, patience=patience, seal=seal, caller=caller, min_replicas=replicas)
        self._wire = Wire(private_client(client))
        self._operations: Operations[Handle] = Operations(
            channel, slice_seconds(self._wire.client), seal, terms, Handle, self, keeper,
            keep_members=name is None, user=user,
        )  # fmt: skip
        self._keeper_wire: Wire | None = None
        if name is None:
            wire = self._wire  # not to hold the pool itself
            weakref.finalize(self, remove_private, lambda: wire, channel, os.getpid())
        if accounts is not None or rules:
            self.run(self._operations.begin(None if accounts is None else as_accounts(accounts), rules))

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

    # -- acquire and release -------------------------------------------------------------------------------------

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
        """Wait for the next account in turn, or for the one given; lock it and return its handle.

        Args:
            account: the account wanted, or its name; None for the next in turn.
            owner: who holds it, as others see it: a string, the same on every host, or any object of this process;
                None for this host, process and thread.
            timeout: seconds to wait; None waits for ever, 0 does not wait.
            ttl: seconds that the lease lives without renewal; None for the pool's.
            priority: -1000 to 1000; higher is served first. A minute of waiting weighs as much as one step.
            choice: labels, exclude, prefer, wait_for_restore (see `redispool.terms.Choice`).

        Raises:
            AcquireTimeout: no account came free in time.
            PoolEmpty: the pool has no accounts, or was emptied meanwhile; no account carries the labels.
            PoolExhausted: all that could be had is quarantined.
            UnknownAccount: the account asked for is not in the pool.
        """
        return self.run(self._operations.acquire(account, owner, timeout, ttl, priority, choice))

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
        """`acquire_account` for a `with` block, at the end of which the account is released.

        All arguments but one are those of `acquire_account`: an error of a class in `bad_on` counts as a failure.

        Raises:
            LeaseLost: the lease ended before the block did, and the block did not raise itself.
        """
        bad = check_error_classes(bad_on)
        handle = self.acquire_account(account, owner, timeout=timeout, ttl=ttl, priority=priority, **choice)
        try:
            yield handle
        except BaseException as error:
            self.run(self._operations.leave(handle, error, bad))
            raise
        self.run(self._operations.leave(handle, None, bad))

    def acquire_accounts(
        self,
        n: int,
        owner: object = None,
        *,
        timeout: float | None = None,
        ttl: float | None = None,
        priority: int = 0,
        **choice: Unpack[Choice],
    ) -> list[Handle]:
        """Wait for `n` different accounts and lock them all at once, or none; not overtaken, unless reserved ones lack.

        Raises:
            ConfigError: the pool has fewer accounts than that.
            AcquireTimeout, PoolEmpty: see `acquire_account`.
        """
        return self.run(self._operations.acquire_several(n, owner, timeout, ttl, priority, choice))

    def acquire_for_cleanup(
        self, owner: object = None, *, timeout: float | None = None, ttl: float | None = None
    ) -> Handle:
        """Wait for an account that was released in a pool with `cleanup=True`, to make it ready for the next user.

        Released, it goes to the others; if the cleaner dies, or its `with` block raises, it goes to the next cleaner.

        Raises:
            ConfigError: the pool has no `cleanup=True`, so that nothing is to be cleaned.
            AcquireTimeout, PoolEmpty: see `acquire_account`.
        """
        return self.run(self._operations.acquire_to_clean(owner, timeout, ttl))

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

    def reseal(self, *, progress: Callable[[int, int], None] | None = None) -> int:
        """Seal every account's record anew with the first key of the pool's cipher, while the pool is in use.

        To change keys: give every process the new key besides the old one, newest first; call this; take the old key
        away. Where the keys come from a file or a callable, that needs no restart. It can be repeated if it was
        interrupted. It also seals a pool that was not sealed.

        Args:
            progress: called with (accounts done, accounts in all) now and then.

        Returns:
            How many records were sealed anew.

        Raises:
            ConfigError: the pool has no cipher.
            SealError: a record does not open with any of the keys, or others go on writing with an older one.
        """
        return self.run(self._operations.reseal(progress))

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
        return self.run(self._operations.oversight.count())

    __len__ = n_accounts

    def __bool__(self) -> bool:
        return True  # a pool without accounts is still a pool

    @property
    def accounts(self) -> list[Account]:
        """The accounts of the pool, in the order in which they were added."""
        return self.run(self._operations.in_order("members"))

    @property
    def unlocked_accounts(self) -> list[Account]:
        """The accounts with a free seat, in the order in which they will be handed out."""
        return self.run(self._operations.in_order("rotation"))

    def __iter__(self) -> Iterator[Account]:
        return iter(self.accounts)

    # -- ruling and watching it ------------------------------------------------------------------------------------

    def configure(self, **policy: Unpack[Policy]) -> Policy:
        """Change rules of the pool, for every host and at once; see `Policy`. Gives all that hold now.

        Raises:
            ConfigError: a value makes no sense; nothing has changed.
        """
        return self.run(self._operations.oversight.configure(check_policy(policy)))

    def quarantine(self, account: Account | str, reason: str = "") -> None:
        """Take an account out of the rotation until `restore`; who holds it keeps it until its release.

        Raises:
            UnknownAccount: it is not in the pool.
        """
        self.run(self._operations.oversight.quarantine(account, reason))

    def restore(self, account: Account | str) -> None:
        """Bring an account back into the rotation, its failures and uses forgotten.

        Raises:
            UnknownAccount: it is not in the pool.
        """
        self.run(self._operations.oversight.restore(account))

    def reserve(
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
        self.run(self._operations.oversight.reserve(account, owner, until, note, force))

    def release(self, account: Account | str, owner: object = None, *, force: bool = False) -> int:
        """Release what the owner holds of an account (or has reserved), from any host; how many leases that was.

        Args:
            account: the account, or its name.
            owner: who holds it; None for this host, process and thread.
            force: whether to release it whoever holds it; `history` tells.

        Raises:
            UnknownAccount: it is not in the pool.
            NotHeld: the owner holds nothing of it.
        """
        return self.run(self._operations.oversight.release(account, owner, force))

    def status(self) -> PoolStatus:
        """How many accounts are free, held, cooling, quarantined; and each lease with its owner and age."""
        return self.run(self._operations.oversight.status())

    def waiting(self) -> list[WaiterInfo]:
        """Who waits, in the order in which they will be served, with estimated waiting times."""
        return self.run(self._operations.oversight.waiting())

    def history(self, account: Account | str | None = None, *, limit: int = 100) -> list[HistoryEvent]:
        """The last events of an account, or of all, the newest first; so many at most, and as far as they are kept."""
        return self.run(self._operations.oversight.history(account, limit))

    def audit(self) -> list[Disagreement]:
        """Check the pool's keys against each other, while it is in use, and change nothing; what contradicts itself.

        There is nothing to be found but what others wrote to these keys, or a defect of redispool. It is done in
        pages, so it holds nobody up. What needs a look at all keys of the server is left out: mailboxes and owners'
        entries that nobody refers to; and turns and free seats are counted in pools of 1,000 accounts at most.
        """
        return self.run(self._operations.oversight.audit())

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
        return run(self._operations.renew(leases), self._wire_of_keeper())

    def give_back(self, lease: Lease) -> None:
        """Release a lease whose handle is gone, if that can be done at once; what the keeper does."""
        run(self._operations.release(lease, patience=0.0), self._wire_of_keeper())

    def _wire_of_keeper(self) -> Wire:
        if self._keeper_wire is None:
            self._keeper_wire = Wire(private_client(self._wire.client, socket_timeout=_KEEPER_TIMEOUT))
        return self._keeper_wire

    def abandon(self, lease: Lease) -> None:
        """Leave it to the keeper to release a lease."""
        keeper().abandon(lease)
