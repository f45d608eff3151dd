"""What a pool can do, as flows: arguments in, accounts and figures out. The faces run them."""

from __future__ import annotations

import math
import os
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from redispool.account import Account, hash_of_name
from redispool.arguments import MAX_PRIORITY, check_account_name, check_seconds, check_ttl, check_whole
from redispool.errors import ConfigError, LeaseLost, NotHeld, RedispoolError
from redispool.identity import new_token, owner_name
from redispool.lease import Handle, Lease
from redispool.protocol.flows import LeaseFlows, Request
from redispool.protocol.membership import MemberFlows
from redispool.protocol.records import Seal, decode, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redispool.protocol.channel import PoolChannel
    from redispool.protocol.commands import Flow

H = TypeVar("H", bound=Handle)
_ACCOUNT_HASH_DIGITS = 15


class Watcher(Protocol):
    """A keeper, as the operations see it."""

    def watch(self, lease: Lease) -> None:
        """Renew the lease until it is released or lost."""

    def forget(self, lease: Lease) -> None:
        """Renew the lease no more."""


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """One lease of a pool; times in seconds since 1970 by the server's clock, `age` in seconds."""

    account: str
    owner: str
    token: str
    fence: int
    acquired_at: float
    expires_at: float
    age: float


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """A pool at one instant: how many accounts it has, how many seats are in which state, and each lease."""

    name: str
    accounts: int
    free: int
    held: int
    cooling: int
    quarantined: int
    waiting: int
    leases: tuple[LeaseInfo, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a pool hands out its accounts; times in seconds."""

    ttl: float
    auto_renew: bool
    max_lease: float | None


def check_terms(ttl: Any, auto_renew: Any, max_lease: Any) -> Terms:
    """The terms, checked."""
    limit = None if max_lease is None else check_ttl(max_lease)
    return Terms(check_ttl(ttl), bool(auto_renew), limit)


def as_accounts(accounts: Any) -> list[Account]:
    """One account, or an iterable of them, as a list."""
    found = [accounts] if isinstance(accounts, Account) else accounts
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise ConfigError(f"an Account or a list of them is needed, not {type(accounts).__name__}")
    found = list(found)
    for account in found:
        if not isinstance(account, Account):
            raise ConfigError(f"an Account is needed, not {type(account).__name__}")
    return found


def name_of(account: Any) -> str:
    """The name of an account that was given itself, or by its name."""
    return account.name if isinstance(account, Account) else check_account_name(account)


class Operations(Generic[H]):
    """The operations of one pool in one process, and what the process knows of its accounts and leases.

    Args:
        channel: the pool's, over which its flows talk.
        slice_seconds: how long one BLPOP may take.
        seal: what seals its records, if anything.
        terms: on what terms accounts are handed out.
        handle_type: the class of the handles that acquisitions give.
        keep_members: whether to hold the accounts that were added here as objects, even if nobody else does.
        face: the pool itself, to which its accounts and leases turn.
        keeper: gives the keeper of this process.
        mailbox: gives the name of the mailbox that the waiters share; None: each has its own.
    """

    def __init__(
        self,
        channel: PoolChannel,
        slice_seconds: float,
        seal: Seal | None,
        terms: Terms,
        handle_type: type[H],
        face: Any,
        keeper: Callable[[], Watcher],
        *,
        keep_members: bool = False,
        mailbox: Callable[[], str] | None = None,
    ) -> None:
        self._keys = channel.keys
        self.flows = LeaseFlows(channel, slice_seconds=slice_seconds)
        self._membership = MemberFlows(channel)
        self.terms = terms
        self._seal = seal
        self._handle_type = handle_type
        self._face: Callable[[], Any] = weakref.ref(face)
        self._keeper = keeper
        self._mailbox = mailbox
        self._members: MutableMapping[str, Account] = {} if keep_members else weakref.WeakValueDictionary()
        self._leases: defaultdict[str, list[Lease]] = defaultdict(list)

    @property
    def name(self) -> str:
        """The name of the pool."""
        return self._keys.pool

    @property
    def namespace(self) -> str:
        """What the names of all its keys begin with."""
        return self._keys.namespace

    # -- acquire, release, renew ---------------------------------------------------------------------------------

    def acquire(self, account: Any, owner: Any, timeout: Any, ttl: Any, priority: Any) -> Flow[H]:
        """Wait for an account; its handle."""
        want = "" if account is None else name_of(account)
        taken, lease = yield from self._take(want, owner, timeout, ttl, priority)
        handle = self._handle_type.__new__(self._handle_type)
        handle.__setstate__(taken.__getstate__())
        member = self._members.get(taken.name)
        if member is not None:
            handle._events = member.events  # noqa: SLF001 - a handle is an account of this pool
        self._settle(handle, lease)
        if lease is not None:
            lease.anchored = owner is not None or member is not None
            self._watch(lease)
        return handle

    def acquire_for(self, account: Account) -> Flow[None]:
        """Wait for the very account, and bind the lease to the object."""
        taken, lease = yield from self._take(account.name, None, None, None, 0)
        account.__dict__.update(taken.__getstate__())
        self._settle(account, lease)
        if lease is not None:
            lease.anchored = not isinstance(account, Handle)
            self._watch(lease)

    def _take(self, want: str, owner: Any, timeout: Any, ttl: Any, priority: Any) -> Flow[tuple[Account, Lease | None]]:
        seconds = self.terms.ttl if ttl is None else check_ttl(ttl)
        if self.terms.max_lease is not None:
            seconds = min(seconds, self.terms.max_lease)
        token = new_token()
        request = Request(
            token,
            token if self._mailbox is None else self._mailbox(),
            owner_name(owner),
            seconds,
            want,
            check_whole("priority", priority, -MAX_PRIORITY, MAX_PRIORITY),
        )
        grant = yield from self.flows.acquire(request, None if timeout is None else check_seconds("timeout", timeout))
        lease = Lease(grant, request.owner, seconds, os.getpid(), self._face()) if grant.token else None
        try:
            return self._decode(grant.account, grant.record), lease
        except RedispoolError:  # who cannot read it must not hold it
            if lease is not None:
                yield from self.flows.release(lease.token, math.inf, 0.0)
            raise

    def _settle(self, account: Account, lease: Lease | None) -> None:
        account.lease = lease
        account._home = self._face()  # noqa: SLF001

    def _watch(self, lease: Lease) -> None:
        self._leases[lease.account].append(lease)
        if self.terms.auto_renew:
            self._keeper().watch(lease)

    def release_for(self, account: Account, cooldown: Any) -> Flow[None]:
        """Release the handle's lease, or the one that this process holds on the member."""
        seconds = check_seconds("cooldown", cooldown)
        lease = account.lease or self._unbound(account)
        if lease is None:
            raise NotHeld(
                f"account {account.name!r} is not held by this {'handle' if isinstance(account, Handle) else 'process'}"
            )
        yield from self.release(lease, seconds)
        account.lease = None

    def leave(self, handle: H, *, failed: bool) -> Flow[None]:
        """Release a handle at the end of its block, unless the block did; an error of the block's own comes first."""
        if not failed and handle.lease is None and handle.needs_lock:
            return
        try:
            yield from handle.releasing()
        except Exception:
            if not failed:
                raise

    def _unbound(self, account: Account) -> Lease | None:
        """The lease that the process took last on an account, for who releases it in the heritage's manner.

        That is by the member object or, where the lease's own handle was dropped, by an earlier handle. A lease
        whose handle is in use is safe from other handles, so that a late thread can only release its own.
        """
        mine = [lease for lease in self._leases.get(account.name, ()) if lease.pid == os.getpid()]
        if isinstance(account, Handle):
            mine = [lease for lease in mine if lease.dropped]
        return mine[-1] if mine else None

    def release(self, lease: Lease, cooldown: float = 0.0) -> Flow[None]:
        """Release a lease. Raises LeaseLost if it was over before."""
        if lease.released:
            raise NotHeld(f"account {lease.account!r} was released already")
        if lease.pid != os.getpid():
            raise NotHeld(
                f"account {lease.account!r} was acquired by process {lease.pid}, from which this one was forked"
            )
        self._keeper().forget(lease)
        valid_until = float("-inf") if lease.lost else lease.valid_until
        try:
            yield from self.flows.release(lease.token, valid_until, cooldown)
        except LeaseLost:
            self._drop(lease)
            raise
        except Exception:
            raise
        except BaseException:  # the caller was interrupted; his account has gone back nevertheless
            self._close(lease)
            raise
        self._close(lease)

    def _close(self, lease: Lease) -> None:
        lease.released = True
        self._drop(lease)

    def _drop(self, lease: Lease) -> None:
        leases = self._leases.get(lease.account)
        if leases is not None and lease in leases:
            leases.remove(lease)
            if not leases:
                self._leases.pop(lease.account, None)

    def release_owner(self, owner: Any) -> Flow[int]:
        """Release all that the owner holds, on any host; how many that was."""
        name = owner_name(owner)
        count = yield from self.flows.release_owner(name)
        for leases in list(self._leases.values()):
            for lease in [one for one in leases if one.owner == name]:
                self._keeper().forget(lease)
                self._close(lease)
        return count

    def renew(self, leases: Sequence[Lease], ttl: float | None = None) -> Flow[list[Lease]]:
        """Renew leases of this pool; those that are over."""
        wanted = [(lease.token, lease.ttl if ttl is None else ttl) for lease in leases]
        results = yield from self.flows.renew(wanted, self.terms.max_lease)
        lost = []
        for lease, result in zip(leases, results, strict=True):
            if result is None:
                lost.append(lease)
                self._drop(lease)
            else:
                lease.ttl = lease.ttl if ttl is None else ttl
                lease.extended(*result)
        return [lease for lease in lost if not lease.released]

    def renew_lease(self, lease: Lease, ttl: Any) -> Flow[None]:
        """Renew one lease. Raises LeaseLost if it is over."""
        seconds = check_ttl(ttl)
        lost = [lease] if lease.released else (yield from self.renew([lease], seconds))
        if lost:
            self._keeper().forget(lease)
            lease.mark_lost()
            raise LeaseLost(f"the lease on account {lease.account!r} is over")
        if self.terms.auto_renew:
            self._keeper().watch(lease)  # it may be due sooner than before

    # -- members -------------------------------------------------------------------------------------------------

    def add(self, accounts: Any, progress: Callable[[int, int], None] | None) -> Flow[int]:
        """Add accounts, or update those that are known; how many were new."""
        found = as_accounts(accounts)
        rows = ((account.name, account.account_hash, encode(account, self._seal, self.name)) for account in found)
        added = yield from self._membership.add(rows, len(found), progress)
        for account in found:
            # an account whose methods block is of no use to who awaits, and is left as it is
            if not isinstance(account, Handle) and account.asynchronous == self._handle_type.asynchronous:
                account._home = self._face()  # noqa: SLF001
                self._members[account.name] = account
        return added

    def remove(self, accounts: Any) -> Flow[None]:
        """Remove accounts, given themselves or by their names."""
        given = [accounts] if isinstance(accounts, str | Account) else list(accounts)
        names = [name_of(account) for account in given]
        yield from self._membership.remove([(name, hash_of_name(name)) for name in names])
        for name in names:
            self._part_with(name)

    def _part_with(self, name: str) -> None:
        member = self._members.pop(name, None)
        if member is not None and self._unbound(member) is None:
            member._home = None  # noqa: SLF001

    def rewrite(self, account: Account, attribute: str, value: Any) -> Flow[None]:
        """Change one attribute of an account for every host."""
        old = account.name

        def change(record: bytes) -> tuple[str, str, bytes]:
            changed = self._decode(old, record)
            setattr(changed, attribute, value)
            return changed.name, changed.account_hash, encode(changed, self._seal, self.name)

        yield from self._membership.replace(old, account.account_hash, change)
        if attribute == "name":
            for lease in self._leases.pop(old, []):
                lease.account = value
                self._leases[value].append(lease)
            member = self._members.pop(old, None)
            if member is not None:
                member.name = value
                self._members[value] = member

    def reset(self) -> Flow[None]:
        """Remove all accounts."""
        yield from self._membership.reset()
        for name in list(self._members):
            self._part_with(name)

    def leave_no_trace(self) -> Flow[None]:
        """Remove the pool itself."""
        yield from self._membership.reset(leave_no_trace=True)

    # -- looking -------------------------------------------------------------------------------------------------

    def find(self, by: str, value: str) -> Flow[Account | None]:
        """The account of that name or hash, or None."""
        (member,) = yield from self._membership.lookup(by, [value])
        return None if member is None else self._member(*member)

    def find_by_hash(self, account_hash: Any) -> Flow[Account | None]:
        """The account with that hash, given as `account_hash` or as `hash(account)`."""
        if isinstance(account_hash, int):
            account_hash = f"{account_hash:0{_ACCOUNT_HASH_DIGITS}x}"
        if not isinstance(account_hash, str):
            raise ConfigError(f"an account's hash is a string or an integer, not {type(account_hash).__name__}")
        return (yield from self.find("hash", account_hash))

    def has(self, account: Any) -> Flow[bool]:
        """Whether the account is in the pool."""
        (member,) = yield from self._membership.lookup("name", [name_of(account)])
        return member is not None

    def list(self, which: str) -> Flow[list[Account]]:
        """The accounts of the 'members' or the 'rotation', in their order."""
        names = yield from self._membership.names(which)
        found = yield from self._membership.lookup("name", names)
        return [self._member(*member) for member in found if member is not None]

    def count(self) -> Flow[int]:
        """How many accounts there are."""
        figures = yield from self._membership.inspect(leases=False)
        return figures.accounts

    def status(self) -> Flow[PoolStatus]:
        """The pool at this instant."""
        figures = yield from self._membership.inspect()
        leases = tuple(
            LeaseInfo(
                row.seat.partition("\t")[0],
                row.owner,
                row.token,
                row.fence,
                row.acquired_at,
                row.expires_at,
                max(figures.at - row.acquired_at, 0.0),
            )
            for row in figures.leases
        )
        return PoolStatus(
            self.name, figures.accounts, figures.free, len(leases), figures.cooling, 0, figures.waiting, leases
        )

    def _decode(self, name: str, record: bytes) -> Account:
        return decode(name, record, self._seal, self.name, self._handle_type.plain_type)

    def _member(self, name: str, record: bytes) -> Account:
        """The object that was added in this process, with what the record says now; or a new one."""
        fresh = self._decode(name, record)
        member = self._members.get(name)
        if member is None:
            fresh._home = self._face()  # noqa: SLF001
            return fresh
        member.__dict__.update(fresh.__getstate__())
        return member
