"""One logical pool over many slots of a cluster, as flows.

Each worker draws from its own stripe, and moves on when that is empty.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from redispool.account import Account, hash_of_name
from redispool.arguments import check_account_name, check_pool_name, check_seconds, check_whole
from redispool.errors import ConfigError, UnknownAccount
from redispool.identity import owner_name
from redispool.protocol.chance import chance
from redispool.protocol.commands import Elsewhere
from redispool.roster import as_accounts
from redispool.stripe_search import Outages, Search
from redispool.terms import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from redispool.protocol.commands import Flow
    from redispool.status import PoolStatus

P = TypeVar("P")  # the pools of one face
A = TypeVar("A", Account, str)

MOST_STRIPES = 1024
_COUNTED = (
    "accounts", "free", "held", "cooling", "quarantined", "waiting", "leases", "to_clean", "quarantine",
)  # fmt: skip


def stripe_names(name: Any, stripes: Any) -> list[str]:
    """The names of the pools that make up a striped one; they tell their number, so that who errs in it finds none."""
    check_whole("stripes", stripes, 1, MOST_STRIPES)
    return [check_pool_name(f"{check_pool_name(name)}:{number}of{stripes}") for number in range(1, stripes + 1)]


def check_pool_options(options: Mapping[str, Any]) -> None:
    """Check that what each stripe is to be opened with makes sense for each."""
    if "accounts" in options:
        raise ConfigError("a striped pool is given its accounts by add_account(), which puts each in its stripe")


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
        self._home = None if home is None else check_whole("home", home, 0, len(pools) - 1)
        self._drawn: tuple[int, int] | None = None  # by lot, and by which process: forked ones are to spread
        self._outages = Outages()
        self._crowd: set[Any] = set()
        names = [pool.name for pool in self.pools]
        for number, pool in enumerate(self.pools):
            pool.operations.check_place = partial(_check_place, names, number)

    def of(self, name: str) -> Any:
        """The stripe that an account belongs to, the same on every host."""
        return self.pools[_number(check_account_name(name), len(self.pools))]

    def acquire(
        self, account: Any, owner: Any, timeout: Any, ttl: Any, priority: Any, choice: Mapping[str, Any]
    ) -> Flow[Any]:
        """Take an account: a particular one where it is, else the next in turn of the own stripe or of another."""
        if account is not None:
            pool = self.of(name_of(account))
            return (yield Elsewhere(pool, pool.operations.acquire(account, owner, timeout, ttl, priority, choice)))
        limit = None if timeout is None else check_seconds("timeout", timeout)

        def take(pool: Any, seconds: float | None) -> Flow[Any]:
            flow: Flow[Any] = pool.operations.acquire(None, owner, seconds, ttl, priority, choice)
            return flow

        first = self._first(owner, choice.get("prefer"))
        ring = self.pools[first:] + self.pools[:first]
        return (yield from Search(self.name, ring, take, limit, self._outages, self._crowd).find())

    def _first(self, owner: Any, preferred: Any) -> int:
        """The number of the stripe to look at first: where the preferred account is, else the own one."""
        if isinstance(preferred, str | Account):
            return _number(name_of(preferred), len(self.pools))
        if preferred is True:  # the account that the owner had last is most likely where he always begins
            return _number(owner_name(owner), len(self.pools))
        if self._home is not None:
            return self._home
        if self._drawn is None or self._drawn[0] != os.getpid():
            self._drawn = os.getpid(), chance.randrange(len(self.pools))
        return self._drawn[1]

    def leave(self, handle: Any, error: BaseException | None, bad_on: tuple[type[BaseException], ...]) -> Flow[None]:
        """Release a handle at the end of its block, where it is from."""
        pool = handle._home  # noqa: SLF001 - not by its name, which may have been changed
        yield Elsewhere(pool, pool.operations.leave(handle, error, bad_on))

    def release_owner(self, owner: Any) -> Flow[int]:
        """Release all that the owner holds; how many that was."""
        return sum((yield from self._each(lambda pool: pool.operations.release_owner(owner), to_the_end=True)))

    def add(self, accounts: Any) -> Flow[int]:
        """Add accounts, each to its stripe; how many were new."""
        found = as_accounts(accounts)
        added = 0
        for pool, share in self._shares(found).items():
            added += yield Elsewhere(pool, pool.operations.add(share, None))
        return added

    def remove(self, accounts: Any) -> Flow[None]:
        """Remove accounts. Raises UnknownAccount, before any is removed, if one is in none of the stripes."""
        given = [accounts] if isinstance(accounts, str | Account) else accounts
        names = list(dict.fromkeys(name_of(account) for account in given))
        for name in names:
            if not (yield from self.has(name)):
                raise UnknownAccount(f"account {name!r} is not in striped pool {self.name!r}")
        for pool, share in self._shares(names).items():
            yield Elsewhere(pool, pool.operations.remove(share))

    def _shares(self, accounts: Iterable[A]) -> dict[Any, list[A]]:
        """What belongs to each stripe, of accounts or of their names."""
        shares: dict[Any, list[A]] = {}
        for account in accounts:
            shares.setdefault(self.of(name_of(account)), []).append(account)
        return shares

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
        yield from self._each(lambda pool: pool.operations.reset(), to_the_end=True)

    def status(self) -> Flow[PoolStatus]:
        """All stripes as one pool; each of them was looked at in an instant of its own."""
        first, *others = yield from self._each(lambda pool: pool.operations.oversight.status())
        total: PoolStatus = replace(first, name=self.name)
        for one in others:
            total = replace(total, **{what: getattr(total, what) + getattr(one, what) for what in _COUNTED})
        return total

    def _each(self, operation: Callable[[Any], Flow[Any]], *, to_the_end: bool = False) -> Flow[list[Any]]:
        """What an operation gives in each stripe; perhaps also in those that come after one in which it fails."""
        results, failure = [], None
        for pool in self.pools:
            try:
                results.append((yield Elsewhere(pool, operation(pool))))
            except Exception as error:
                if not to_the_end:
                    raise
                failure = failure or error
        if failure is not None:
            raise failure
        return results


def _number(name: str, stripes: int) -> int:
    """The number of the stripe that a name belongs to, the same on every host."""
    return int(hash_of_name(name), 16) % stripes


def _check_place(stripes: Sequence[str], number: int, name: str) -> None:
    """An account is to be called so in that stripe; two stripes that have it would both hand it out."""
    right = _number(name, len(stripes))
    if right != number:
        raise ConfigError(
            f"account {name!r} belongs to stripe {stripes[right]!r} by its name, not to {stripes[number]!r}: add it by "
            "the striped pool; to rename an account there, remove it, and add it with its new name"
        )
