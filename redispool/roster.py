"""The accounts of a pool, as flows, and what this process knows of them."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from redispool.account import Account, Hidden, hash_of_name
from redispool.errors import ConfigError
from redispool.lease import Handle, Lease
from redispool.protocol.membership import MemberFlows
from redispool.protocol.records import Seal, decode, encode
from redispool.protocol.resealing import ResealFlows
from redispool.terms import name_of

if TYPE_CHECKING:
    from redispool.protocol.channel import PoolChannel
    from redispool.protocol.commands import Flow

H = TypeVar("H", bound=Handle)
_ACCOUNT_HASH_DIGITS = 15


def as_accounts(accounts: Any) -> list[Account]:
    """One account, or an iterable of them, as a list."""
    found = [accounts] if isinstance(accounts, Account) else accounts
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise ConfigError(f"an Account or a list of them is needed, not {type(accounts).__name__}")
    found = list(found)
    for account in found:
        if not isinstance(account, Account):
            raise ConfigError(f"an Account is needed, not {type(account).__name__}")
        if not account.name:
            raise ConfigError("the name of an account in a pool must not be empty; give it one with set_name()")
    return found


class Roster(Generic[H]):
    """The accounts of one pool: what was added by this process, and which of them it holds.

    Args:
        channel: the pool's, over which its flows talk.
        seal: what seals its records, if anything.
        handle_type: the class of the handles that acquisitions give.
        keep_members: whether to hold the accounts that were added here as objects, even if nobody else does.
        face: the pool itself, to which its accounts and leases turn.
    """

    def __init__(
        self, channel: PoolChannel, seal: Seal | None, handle_type: type[H], face: Any, *, keep_members: bool
    ) -> None:
        self._keys = channel.keys
        self._membership = MemberFlows(channel)
        self._resealing = ResealFlows(channel)
        self._seal = seal
        self._handle_type = handle_type
        self._face: Callable[[], Any] = weakref.ref(face)
        self._members: MutableMapping[str, Account] = {} if keep_members else weakref.WeakValueDictionary()
        self._leases: dict[str, Lease] = {}  # by token
        self.check_place: Callable[[str], None] | None = None  # of a stripe, whether an account may be called so there

    @property
    def name(self) -> str:
        """The name of the pool."""
        return self._keys.pool

    @property
    def namespace(self) -> str:
        """What the names of all its keys begin with."""
        return self._keys.namespace

    def add(self, accounts: Any, progress: Callable[[int, int], None] | None) -> Flow[int]:
        """Add accounts, or update those that are known; how many were new."""
        found = as_accounts(accounts)
        if self.check_place is not None:
            for account in found:
                self.check_place(account.name)
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
        self._part_with(names)

    def _part_with(self, names: Iterable[str]) -> None:
        held = {lease.account for lease in self._held()}
        for name in names:
            member = self._members.pop(name, None)
            if member is not None and name not in held:
                member._home = None  # noqa: SLF001

    def rewrite(self, account: Account, attribute: str, hidden: Hidden) -> Flow[None]:
        """Change one attribute of an account for every host."""
        old = account.name
        if attribute == "name" and self.check_place is not None:
            self.check_place(hidden.value)

        def change(record: bytes) -> tuple[str, str, bytes]:
            changed = self._decode(old, record)
            setattr(changed, attribute, hidden.value)
            return changed.name, changed.account_hash, encode(changed, self._seal, self.name)

        yield from self._membership.replace(old, account.account_hash, change)
        if attribute == "name":
            for lease in self._held():
                if lease.account == old:
                    lease.account = hidden.value
            member = self._members.pop(old, None)
            if member is not None:
                member.name = hidden.value
                self._members[member.name] = member

    def reseal(self, progress: Callable[[int, int], None] | None) -> Flow[int]:
        """Seal every record anew with the first key; how many that were."""
        if self._seal is None:
            raise ConfigError("reseal() needs keys: give the pool its cipher=, or set REDISPOOL_KEY")
        return (yield from self._resealing.reseal(progress))

    def reset(self) -> Flow[None]:
        """Remove all accounts."""
        yield from self._membership.reset()
        self._part_with(list(self._members))

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

    def in_order(self, which: str) -> Flow[list[Account]]:
        """The accounts of the 'members' or the 'rotation', in their order."""
        names = yield from self._membership.names(which)
        found = yield from self._membership.lookup("name", names)
        return [self._member(*member) for member in found if member is not None]

    def _held(self) -> list[Lease]:
        """The leases of this process, and not of one from which it was forked; the latest last."""
        return [lease for lease in list(self._leases.values()) if lease.pid == os.getpid()]

    def _unbound(self, account: Account) -> Lease | None:
        """The lease that the process took last on an account, for who releases it in the heritage's manner.

        That is by the member object or, where the lease's own handle was dropped, by an earlier handle. A lease
        whose handle is in use is safe from other handles, so that a late thread can only release its own.
        """
        mine = [lease for lease in self._held() if lease.account == account.name]
        if isinstance(account, Handle):
            mine = [lease for lease in mine if lease.dropped]
        return mine[-1] if mine else None

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
