"""One logical pool over many slots of a cluster, as flows.

Each worker draws from its own stripe, and moves on when that is empty.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from redispool.account import Account, hash_of_name
from redispool.arguments import check_account_name, check_pool_name, check_seconds, check_whole
from redispool.errors import AcquireTimeout, PoolEmpty, PoolExhausted, UnknownAccount
from redispool.protocol.chance import chance
from redispool.protocol.commands import Elsewhere
from redispool.roster import as_accounts
from redispool.terms import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redispool.protocol.commands import Flow
    from redispool.status import PoolStatus

P = TypeVar("P")  # the pools of one face

MOST_STRIPES = 1024
LOOK_AROUND = 1.0  # seconds that one waits in line at a stripe before looking at others
REACH = 4  # others that are looked at then
_COUNTED = (
    "accounts", "free", "held", "cooling", "quarantined", "waiting", "leases", "to_clean", "quarantine",
)  # fmt: skip


def stripe_names(name: Any, stripes: Any) -> list[str]:
    """The names of the pools that make up a striped one; they tell their number, so that who errs in it finds none."""
    check_whole("stripes", stripes, 1, MOST_STRIPES)
    return [check_pool_name(f"{check_pool_name(name)}:{number}of{stripes}") for number in range(1, stripes + 1)]


class Stripes(Generic[P]):
    """What a striped pool can do.

    Args:
        name: its name.
        pools: its stripes.
        home: the number of this worker's own one, from 0; None: any, by lot.
    """

    def __init__(self, name: str, pools: Sequence[P], home: Any) -> None:
        self.name = name
        self.pools: tuple[Any, ...] = tuple(pools)
        self._home: int = chance.randrange(len(pools)) if home is None else check_whole("home", home, 0, len(pools) - 1)

    def of(self, name: str) -> Any:
        """The stripe that an account belongs to, the same on every host."""
        return self.pools[int(hash_of_name(check_account_name(name)), 16) % len(self.pools)]

    def acquire(
        self, account: Any, owner: Any, timeout: Any, ttl: Any, priority: Any, choice: Mapping[str, Any]
    ) -> Flow[Any]:
        """Take an account: a particular one where it is, else the next in turn of the own stripe or of another."""
        if account is not None:
            pool = self.of(name_of(account))
            return (yield Elsewhere(pool, pool.operations.acquire(account, owner, timeout, ttl, priority, choice)))
        limit = None if timeout is None else check_seconds("timeout", timeout)
        deadline = None if limit is None else time.monotonic() + limit

        def ask(pool: Any, seconds: float, stamp: str = "") -> Elsewhere:
            return Elsewhere(pool, pool.operations.acquire(None, owner, seconds, ttl, priority, choice, stamp=stamp))

        while True:
            ring = self.pools[self._home :] + self.pools[: self._home]
            found, waitable = yield from _look(ring, ask)
            if found is None:
                try:
                    home = waitable[0]
                    others = [pool for pool in ring if pool is not home]  # one without accounts may get some
                    found = yield from self._wait(home, others, deadline, ask)
                except PoolEmpty:
                    continue  # the stripe has been emptied: look whether all are
            return found

    def _wait(self, home: Any, others: list[Any], deadline: float | None, ask: Callable[..., Elsewhere]) -> Flow[Any]:
        """Wait in line at one stripe, with a look at some of the others now and then; what was found.

        Who looks around keeps his place: nobody who comes later is served before him, but while he looks.
        """
        stamp = ""
        while True:
            remaining = LOOK_AROUND if deadline is None else max(deadline - time.monotonic(), 0.0)
            try:
                return (yield ask(home, min(remaining, LOOK_AROUND), stamp))
            except AcquireTimeout as error:
                if remaining <= LOOK_AROUND and deadline is not None:
                    raise AcquireTimeout(f"no account of striped pool {self.name!r} came free in time") from None
                stamp = error.stamp
            found, _ = yield from _look(chance.sample(others, min(REACH, len(others))), ask, spare=True)
            if found is not None:
                return found

    def leave(self, handle: Any, error: BaseException | None, bad_on: tuple[type[BaseException], ...]) -> Flow[None]:
        """Release a handle at the end of its block, where it is from."""
        pool = handle._home  # noqa: SLF001 - not by its name, which may have been changed
        yield Elsewhere(pool, pool.operations.leave(handle, error, bad_on))

    def release_owner(self, owner: Any) -> Flow[int]:
        """Release all that the owner holds; how many that was."""
        return sum((yield from self._each(lambda pool: pool.operations.release_owner(owner))))

    def add(self, accounts: Any) -> Flow[int]:
        """Add accounts, each to its stripe; how many were new."""
        shares: dict[Any, list[Any]] = {}
        for account in as_accounts(accounts):
            shares.setdefault(self.of(account.name), []).append(account)
        added = 0
        for pool, share in shares.items():
            added += yield Elsewhere(pool, pool.operations.add(share, None))
        return added

    def remove(self, accounts: Any) -> Flow[None]:
        """Remove accounts. Raises UnknownAccount, before any is removed, if one is in none of the stripes."""
        given = [accounts] if isinstance(accounts, str | Account) else accounts
        names = [name_of(account) for account in given]
        for name in names:
            if not (yield from self.has(name)):
                raise UnknownAccount(f"account {name!r} is not in striped pool {self.name!r}")
        for name in names:
            pool = self.of(name)
            yield Elsewhere(pool, pool.operations.remove(name))

    def has(self, account: Any) -> Flow[bool]:
        """Whether the account is in the pool."""
        pool = self.of(name_of(account))
        return bool((yield Elsewhere(pool, pool.operations.has(account))))

    def find(self, name: str) -> Flow[Any]:
        """The account of that name, or None."""
        pool = self.of(name)
        return (yield Elsewhere(pool, pool.operations.find("name", name)))

    def count(self) -> Flow[int]:
        """How many accounts there are."""
        return sum((yield from self._each(lambda pool: pool.operations.oversight.count())))

    def reset(self) -> Flow[None]:
        """Remove all accounts, end all leases, and send those who wait away."""
        yield from self._each(lambda pool: pool.operations.reset())

    def status(self) -> Flow[PoolStatus]:
        """All stripes as one pool; each of them was looked at in an instant of its own."""
        first, *others = yield from self._each(lambda pool: pool.operations.oversight.status())
        total: PoolStatus = replace(first, name=self.name)
        for one in others:
            total = replace(total, **{what: getattr(total, what) + getattr(one, what) for what in _COUNTED})
        return total

    def _each(self, operation: Callable[[Any], Flow[Any]]) -> Flow[list[Any]]:
        results = []
        for pool in self.pools:
            results.append((yield Elsewhere(pool, operation(pool))))  # noqa: PERF401 - no comprehension can yield
        return results


def _look(pools: Sequence[Any], ask: Callable[..., Elsewhere], *, spare: bool = False) -> Flow[tuple[Any, list[Any]]]:
    """What can be had at once of one of the pools, or None; and those in which one may wait for it.

    Raises:
        PoolEmpty: no pool has what is wanted, so that waiting would be in vain; not if they are but some.
    """
    waitable: list[Any] = []
    in_vain = PoolEmpty("there is no stripe to look at")
    for pool in pools:
        try:
            return (yield ask(pool, 0.0)), waitable
        except AcquireTimeout:
            waitable.append(pool)
        except PoolEmpty as error:
            in_vain = in_vain if isinstance(in_vain, PoolExhausted) else error
    if not waitable and not spare:
        raise in_vain
    return None, waitable
