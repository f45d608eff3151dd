"""A lease, and the handle of the account that it is for."""

from __future__ import annotations

import os
import time
import warnings
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from redispool.account import Account
from redispool.events import Event

if TYPE_CHECKING:
    from redispool.protocol.requests import Grant


class LeaseHome(Protocol):
    """The pool that a lease is from, as the lease sees it."""

    @property
    def operations(self) -> Any:
        """What the pool can do, as flows."""

    def run(self, flow: Any) -> Any:
        """Run a flow to its end, or give what awaits that."""

    def abandon(self, lease: Lease) -> None:
        """Give back a lease that nobody can release any more; called from anywhere, so it must not block."""


class Lease:
    """The right to use an account for a time.

    Attributes:
        token: what the account's lock in Redis holds; nobody else has it.
        fence: an integer that grows with every grant in the pool; hand it to a resource that can refuse older ones.
        owner: who holds the account, as others see it.
        account: the name of the account.
        acquired_at: when it was granted, in seconds since 1970 by the server's clock.
        expires_at: when it ends unless it is renewed, likewise.
    """

    __slots__ = (
        "__weakref__", "_home", "_lost", "_lost_event", "account", "acquired_at", "anchored", "cleans", "dropped",
        "expires_at", "failed", "fence", "owner", "pid", "released", "renew_at", "token", "ttl", "unanswered",
        "valid_until",
    )  # fmt: skip

    def __init__(self, grant: Grant, owner: str, ttl: float, pid: int, home: LeaseHome) -> None:
        self.token = grant.token
        self.fence = grant.fence
        self.owner = owner
        self.account = grant.account
        self.acquired_at = grant.acquired_at
        self.expires_at = grant.expires_at
        self.valid_until = grant.valid_until  # by this process's monotonic clock, and never later than the server's end
        self.ttl = ttl
        self.pid = pid
        self.renew_at = self.valid_until - ttl * 2 / 3
        self.released = False
        self.unanswered = False  # a release was sent, and nobody knows whether it was executed
        self.anchored = False  # somebody can release it without its handle
        self.dropped = False  # and its handle is gone
        self.cleans = False  # its holder is to clean the account
        self.failed = False  # the block or the code that had the handle came to a bad end
        self._home = home
        self._lost = False
        self._lost_event: Event | None = None

    def __repr__(self) -> str:
        state = "released" if self.released else "lost" if self.lost else "held"
        return f"<Lease of {self.account!r} by {self.owner!r}, fence {self.fence}, {state}>"

    @property
    def home(self) -> Any:
        """The pool that the lease is from."""
        return self._home

    @property
    def lost(self) -> bool:
        """Whether the lease ended before it was released."""
        return self._lost or (not self.released and time.monotonic() >= self.valid_until)

    @property
    def lost_event(self) -> Event:
        """Emitted with the lease, from the keeper, when it was lost."""
        if self._lost_event is None:
            self._lost_event = Event()
        return self._lost_event

    def renew(self, ttl: float | None = None) -> Any:
        """Renew the lease now and from then on for `ttl` seconds (default: as before); a coroutine under asyncio.

        Raises:
            LeaseLost: it is over.
        """
        return self._home.run(self._home.operations.renew_lease(self, self.ttl if ttl is None else ttl))

    def extended(self, expires_at: float, valid_until: float) -> None:
        """The server has renewed the lease."""
        self.expires_at = expires_at
        self.valid_until = valid_until
        now = time.monotonic()
        # max_lease may leave less than a ttl: no renewing without a pause then
        self.renew_at = now + max((valid_until - now) / 3, self.shortest_pause)

    @property
    def shortest_pause(self) -> float:
        """Seconds between two tries to renew, at the least."""
        return min(self.ttl / 10, 1.0)

    def mark_lost(self) -> None:
        """The lease is over, though nobody released it."""
        if not self._lost and not self.released:
            self._lost = True
            self.valid_until = float("-inf")
            self.lost_event(self)


class Handle(Account):
    """What an acquisition gives: the account, bound to the lease of this one acquisition."""

    plain_type: ClassVar[type[Account]] = Account  # of a copy, and of the pool's members

    def __del__(self) -> None:
        lease = getattr(self, "_lease", None)
        if lease is None or lease.released or lease.pid != os.getpid():  # a forked child's copies are the parent's
            return
        lease.dropped = lease.failed = True
        if not lease.anchored:
            lease.home.abandon(lease)  # first, for the warning may be turned into an error
            warnings.warn(
                f"account {lease.account!r} was dropped without release(); it goes back to its pool",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    def __reduce__(self) -> Any:
        # a copy is the account without the lease, which only this handle may release
        return _plain_account, (self.plain_type, self.__getstate__())


def _plain_account(plain_type: type[Account], state: dict[str, Any]) -> Account:
    account = plain_type.__new__(plain_type)
    account.__dict__.update(state)
    return account
