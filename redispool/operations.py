"""What a pool can do, as flows: arguments in, accounts and figures out. The faces run them."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from redispool.arguments import MAX_PRIORITY, check_seconds, check_ttl, check_whole
from redispool.errors import ConfigError, LeaseLost, NotHeld
from redispool.identity import new_token, owner_name, prefix_of
from redispool.lease import Handle, Lease
from redispool.oversight import Oversight
from redispool.protocol.flows import LeaseFlows
from redispool.protocol.places import Place, PlaceFlows
from redispool.protocol.records import decode
from redispool.protocol.requests import CLEANUP, Request
from redispool.roster import H, Roster
from redispool.terms import check_choice, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redispool.account import Account
    from redispool.protocol.channel import PoolChannel
    from redispool.protocol.commands import Flow
    from redispool.protocol.records import Seal
    from redispool.protocol.requests import Grant
    from redispool.terms import Terms

_MOST_AT_ONCE = 500  # accounts in one acquisition
_NO_CHOICE: Mapping[str, Any] = {}


class Watcher(Protocol):
    """A keeper, as the operations see it."""

    def watch(self, lease: Lease) -> None:
        """Renew the lease until it is released or lost."""

    def forget(self, lease: Lease) -> None:
        """Renew the lease no more."""


def _ready(grants: list[Grant]) -> Flow[list[Grant]]:
    return grants
    yield  # a flow that asks for nothing


def _not_ours(lease: Lease) -> NotHeld:
    return NotHeld(f"account {lease.account!r} was acquired by process {lease.pid}, from which this one was forked")


class Operations(Roster[H]):
    """The operations of one pool in one process.

    Args:
        channel: the pool's, over which its flows talk.
        slice_seconds: how long one BLPOP may take.
        seal: what seals its records, if anything.
        terms: on what terms accounts are taken.
        handle_type: the class of the handles that acquisitions give.
        face: the pool itself, to which its accounts and leases turn.
        keeper: gives the keeper of this process.
        keep_members: whether to hold the accounts that were added here as objects, even if nobody else does.
        user: the name under which the client logs in to the server.
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
        user: str = "",
        mailbox: Callable[[], str] | None = None,
    ) -> None:
        super().__init__(channel, seal, handle_type, face, keep_members=keep_members)
        self.flows = LeaseFlows(channel, slice_seconds=slice_seconds)
        self.oversight = Oversight(channel)
        self.terms = terms
        self._keeper = keeper
        self._token_prefix = prefix_of(user)
        self._mailbox = mailbox

    def begin(self, accounts: Sequence[Account] | None, policy: Mapping[str, Any]) -> Flow[None]:
        """Give the pool the policy and the accounts that it was opened with."""
        if policy:
            yield from self.oversight.configure(policy)
        if accounts is not None:
            yield from self.add(accounts, None)

    def acquire(
        self,
        account: Any,
        owner: Any,
        timeout: Any,
        ttl: Any,
        priority: Any,
        choice: Mapping[str, Any] = _NO_CHOICE,
    ) -> Flow[H]:
        """Wait for an account; its handle."""
        fields = check_choice(choice) if choice else {}
        if account is not None:
            if fields.keys() - {"patient"}:
                raise ConfigError("a particular account was asked for, so labels, exclude and prefer make no sense")
            fields["account"] = name_of(account)
        request = self._request(owner, ttl, priority, fields)
        (handle,) = yield from self._take(self._asking(request, timeout), request, owner)
        return handle

    def acquire_several(
        self, count: Any, owner: Any, timeout: Any, ttl: Any, priority: Any, choice: Mapping[str, Any]
    ) -> Flow[list[H]]:
        """Wait for several different accounts, all or none; their handles."""
        fields = check_choice(choice) | {"count": check_whole("n", count, 1, _MOST_AT_ONCE)}
        if "prefer" in fields:
            raise ConfigError("several accounts were asked for, so prefer makes no sense; use labels")
        request = self._request(owner, ttl, priority, fields)
        return (yield from self._take(self._asking(request, timeout), request, owner))

    def acquire_to_clean(self, owner: Any, timeout: Any, ttl: Any) -> Flow[H]:
        """Wait for an account that was used and not yet cleaned; its handle."""
        request = self._request(owner, ttl, 0, {"choice": CLEANUP})
        (handle,) = yield from self._take(self._asking(request, timeout), request, owner)
        return handle

    def acquire_or_keep_place(
        self, place: Place | None, away: float | None, owner: Any, choice: Mapping[str, Any] = _NO_CHOICE
    ) -> Flow[H | Place]:
        """Take an account if one can be had, else keep a place in the queue (`PlaceFlows.visit`); its handle, or it."""
        request = self._request(owner, None, 0, check_choice(choice))
        request = replace(request, box=request.token)
        result = yield from PlaceFlows(self.flows.channel, slice_seconds=self.flows.slice_seconds).visit(
            request, place, away
        )
        if isinstance(result, Place):
            return result
        (handle,) = yield from self._take(_ready(result), request, owner)
        return handle

    def acquire_for(self, account: Account) -> Flow[None]:
        """Wait for the very account, and bind the lease to the object."""
        request = self._request(None, None, 0, {"account": account.name})
        (grant,) = yield from self.flows.acquire(request, None)
        try:
            account.__dict__.update(self._decode(grant.account, grant.record).__getstate__())
            self._settle(account, grant, request, anchored=not isinstance(account, Handle))
        except BaseException:
            yield from self._give_back([grant])
            raise

    def _request(self, owner: Any, ttl: Any, priority: Any, fields: Mapping[str, Any]) -> Request:
        seconds = self.terms.ttl if ttl is None else check_ttl(ttl)
        if self.terms.max_lease is not None:
            seconds = min(seconds, self.terms.max_lease)
        token = new_token(self._token_prefix)
        return Request(
            token,
            token if self._mailbox is None else self._mailbox(),
            owner_name(owner),
            seconds,
            priority=check_whole("priority", priority, -MAX_PRIORITY, MAX_PRIORITY),
            **fields,
        )

    def _asking(self, request: Request, timeout: Any) -> Flow[list[Grant]]:
        return self.flows.acquire(request, None if timeout is None else check_seconds("timeout", timeout))

    def _take(self, asking: Flow[list[Grant]], request: Request, owner: Any) -> Flow[list[H]]:
        grants = yield from asking
        try:
            handles = []
            for grant in grants:
                handles.append(self._handle(grant, request, owner))  # noqa: PERF401 - a comprehension costs a frame
        except BaseException:  # who cannot read it, or was interrupted, must not hold it
            yield from self._give_back(grants)
            raise
        return handles

    def _handle(self, grant: Grant, request: Request, owner: Any) -> H:
        handle = decode(grant.account, grant.record, self._seal, self._keys.pool, self._handle_type)
        member = self._members.get(grant.account) if self._members else None  # most workers know none
        if member is not None:
            handle._events = member.events  # noqa: SLF001 - a handle is an account of this pool
        self._settle(handle, grant, request, anchored=owner is not None or member is not None)
        return handle

    def _give_back(self, grants: Sequence[Grant]) -> Flow[None]:
        for grant in grants:
            if grant.token:
                yield from self.flows.release(grant.token, math.inf, 0.0, sent_before=True)  # gone is as good

    def _settle(self, account: Account, grant: Grant, request: Request, *, anchored: bool) -> None:
        account._home = home = self._face()  # noqa: SLF001
        if not grant.token:
            account._lease = None  # noqa: SLF001
            return
        account._lease = lease = Lease(  # noqa: SLF001
            grant, request.owner, request.ttl, os.getpid(), home
        )
        lease.anchored = anchored
        lease.cleans = request.choice == CLEANUP
        self._leases[lease.token] = lease
        if self.terms.auto_renew:
            self._keeper().watch(lease)

    def release_for(self, account: Account, cooldown: Any) -> Flow[None]:
        """Release the handle's lease, or the one that this process holds on the member."""
        seconds = None if cooldown is None else check_seconds("cooldown", cooldown)
        lease = account.lease or self._unbound(account)
        if lease is None:
            raise NotHeld(
                f"account {account.name!r} is not held by this {'handle' if isinstance(account, Handle) else 'process'}"
            )
        return self.release(lease, seconds)

    def leave(self, handle: H, error: BaseException | None, bad_on: tuple[type[BaseException], ...]) -> Flow[None]:
        """Release a handle at the end of its block, unless the block did; an error of the block's own comes first."""
        if error is None and handle.lease is None and handle.needs_lock:
            return
        try:
            try:
                if isinstance(error, bad_on):
                    yield from self.oversight.mark_bad(handle, type(error).__name__, None)  # its text may tell a secret
            finally:
                yield from handle.releasing()
        except Exception:
            if error is None:
                raise

    def release(self, lease: Lease, cooldown: float | None = None, *, patience: float | None = None) -> Flow[None]:
        """Release a lease. Raises LeaseLost if it was over before."""
        if lease.released:
            raise NotHeld(f"account {lease.account!r} was released already")
        if lease.pid != os.getpid():
            raise _not_ours(lease)
        self._keeper().forget(lease)
        try:
            yield from self.flows.release(
                lease.token, lease.valid_until, cooldown, patience,
                sent_before=lease.unanswered, undone=lease.cleans and lease.failed,
            )  # fmt: skip
        except LeaseLost:
            lease.valid_until = float("-inf")  # whoever ended it, it is lost
            lease.anchored = True  # its handle leaves nothing behind that could be given back
            self._drop(lease)
            raise
        except Exception:
            lease.unanswered = True
            raise
        except BaseException:  # the caller was interrupted; his account has gone back nevertheless
            self._close(lease)
            raise
        self._close(lease)

    def _close(self, lease: Lease) -> None:
        lease.released = True
        self._leases.pop(lease.token, None)

    def _drop(self, lease: Lease) -> None:
        self._leases.pop(lease.token, None)

    def release_owner(self, owner: Any) -> Flow[int]:
        """Release all that the owner holds, on any host; how many that was."""
        name = owner_name(owner)
        mine = [lease for lease in self._held() if lease.owner == name]  # not what is acquired from now on
        count = yield from self.flows.release_owner(name)
        for lease in mine:
            self._keeper().forget(lease)
            self._close(lease)
        return count

    def renew(self, leases: Sequence[Lease], ttl: float | None = None, patience: float = 0.0) -> Flow[list[Lease]]:
        """Renew leases of this pool; those that are over."""
        wanted = [(lease.token, lease.ttl if ttl is None else ttl) for lease in leases]
        results = yield from self.flows.renew(wanted, self.terms.max_lease, patience)
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
        """Renew one lease. Raises LeaseLost if it is over, NotHeld if it is the process's from which we were forked."""
        seconds = check_ttl(ttl)
        if lease.pid != os.getpid():
            raise _not_ours(lease)
        patience = max(min(self.flows.channel.patience, lease.valid_until - time.monotonic()), 0.0)
        lost = [lease] if lease.released else (yield from self.renew([lease], seconds, patience))
        if lost:
            self._keeper().forget(lease)
            lease.mark_lost()
            raise LeaseLost(f"the lease on account {lease.account!r} is over")
        if self.terms.auto_renew:
            self._keeper().watch(lease)  # it may be due sooner than before
