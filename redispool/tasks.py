"""An account for each run of a task: what the integrations of task queues have in common."""

from __future__ import annotations

import gc
import inspect
import os
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from redispool.arguments import check_pool_name, check_seconds
from redispool.errors import AcquireTimeout, ConfigError
from redispool.lease import Handle
from redispool.manager import AccountManager
from redispool.protocol.places import Place
from redispool.terms import check_choice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from redispool.pool import AccountPool

_current: ContextVar[TaskAccount | None] = ContextVar("account", default=None)
WISHES = {f"account_{name}" for name in ("pool", "for", "wait", "timeout", "countdown", "choice")}
_MANY = 10  # who has so many before him asks half as often


class Unsendable:
    """What cannot be sent anywhere, as it has secrets."""

    def __reduce__(self) -> NoReturn:
        raise ConfigError(f"{self!r} must not travel in a message or a result, as it has secrets; send its name")


class TaskAccount(Unsendable, Handle):
    """The account of a running task."""


def current_account() -> TaskAccount | None:
    """The account of the task that runs here; None outside of tasks that have one."""
    return _current.get()


@dataclass(frozen=True, slots=True)
class Wish:
    """How a task gets its account.

    Args:
        pool: the name of the pool; or
        host: gives the host that the account is for, from the tuple of the task's arguments: in the order of its
            parameters and with their defaults, however they were sent.
        wait: 'block' waits in the worker; 'retry' has the task come again later, and keeps its place in the queue.
        timeout: seconds to wait in all; None waits for ever.
        countdown: seconds until it comes again, if it is among the next; the longer the queue, the more.
        choice: labels, exclude, prefer, wait_for_restore (see `redispool.terms.Choice`).

    Raises:
        ConfigError: one of them makes no sense.
    """

    pool: str | None = None
    host: Callable[[Any], Any] | None = None
    wait: str = "block"
    timeout: float | None = None
    countdown: float = 1.0
    choice: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.pool is None) == (self.host is None):
            raise ConfigError("a task's account needs either account_pool='NAME' or account_for=<args to host>")
        if self.pool is not None:
            check_pool_name(self.pool)
        elif not callable(self.host):
            raise ConfigError(f"account_for must be a callable that gives the host, not {type(self.host).__name__}")
        if self.wait not in {"block", "retry"}:
            raise ConfigError(f"account_wait must be 'block' or 'retry', not {self.wait!r}")
        if self.timeout is not None:
            check_seconds("account_timeout", self.timeout)
        check_seconds("account_countdown", self.countdown, least=0.01)
        check_choice(self.choice)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Wish:
        """The wish that options tell: account_pool, account_for, account_wait and so on."""
        unknown = sorted(options.keys() - WISHES)
        if unknown:
            raise TypeError(f"unexpected option {unknown[0]!r}; there are {', '.join(sorted(WISHES))}")
        given = {name.removeprefix("account_"): value for name, value in options.items()}
        return cls(host=given.pop("for", None), **given)

    def host_of(self, args: Any) -> Any:
        """The host that a run with these arguments is for."""
        assert self.host is not None  # noqa: S101 - as pool is None
        return self.host(args)

    def pool_of(self, manager: AccountManager, args: Any) -> AccountPool:
        """The pool that a run with these arguments takes its account from."""
        if self.pool is not None:
            return manager.pool(self.pool)
        return manager.pool_for(self.host_of(args))


@dataclass(frozen=True, slots=True)
class Return:
    """There is no account yet: the task is to come again.

    Attributes:
        countdown: in so many seconds.
        ticket: what it is to bring along; it holds no secrets.
    """

    countdown: float
    ticket: dict[str, Any]


def take(
    wish: Wish, pool: AccountPool, owner: str | None, *, may_return: bool, ticket: Mapping[str, Any] | None = None
) -> Handle | Return:
    """Take an account for a task, or have it come again.

    Args:
        wish: the task's.
        pool: the pool that has it.
        owner: who holds it; None for the calling thread.
        may_return: False blocks, whatever the wish.
        ticket: what the task was given at its last visit.

    Raises:
        AcquireTimeout, PoolEmpty, PoolExhausted: see `AccountPool.acquire_account`.
    """
    if wish.wait == "block" or not may_return:
        return pool.acquire_account(owner=owner, timeout=wish.timeout, **wish.choice)
    known = ticket if ticket is not None and ticket.get("pool") == pool.name else None
    since, place = (time.time(), None) if known is None else (known["since"], Place(known["token"], known["stamp"]))
    longest = max(wish.countdown, min(_MANY * wish.countdown, pool.operations.terms.ttl / 3))
    left = None if wish.timeout is None else since + wish.timeout - time.time()
    away = None if left is not None and left <= 0 else longest
    try:
        found = pool.run(pool.operations.acquire_or_keep_place(place, away, owner, wish.choice))
    except AcquireTimeout:
        waited = f"pool {pool.name!r} had no account for it within {wish.timeout:g} seconds"
        raise AcquireTimeout(f"the task came again until its time was up: {waited}") from None
    if isinstance(found, Handle):
        return found
    countdown = min(wish.countdown * (1 + found.rank / _MANY), longest)
    return Return(
        countdown if left is None else min(countdown, max(left, 0.0)),
        {"pool": pool.name, "token": found.token, "stamp": found.stamp, "since": since},
    )


def arguments(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """The arguments in the order of the function's parameters and with their defaults, however they were sent."""
    called = inspect.signature(function).bind(*args, **kwargs)
    called.apply_defaults()
    return (*called.args, *called.kwargs.values())  # the latter can only be sent by name


@contextmanager
def holding(pool: AccountPool, account: Handle) -> Iterator[TaskAccount]:
    """A block in which the account is the current one, and at the end of which it is released.

    Raises:
        LeaseLost: the lease ended before the block did, and the block did not raise itself.
    """
    account.__class__ = TaskAccount  # nothing else about it changes
    mine: Any = account
    before = _current.set(mine)
    try:
        yield mine
    except BaseException as error:
        pool.run(pool.operations.leave(mine, error, ()))
        raise
    else:
        pool.run(pool.operations.leave(mine, None, ()))
    finally:
        _current.reset(before)


class ManagerOfProcess:
    """Opens a manager when it is first needed, and another one in a process that was forked meanwhile.

    Args:
        settings: gives the arguments of `AccountManager`.
    """

    def __init__(self, settings: Callable[[], Mapping[str, Any]]) -> None:
        self._settings = settings
        self._managers: dict[int, AccountManager] = {}  # by pid, as no lock of ours may be held while others fork

    def __call__(self) -> AccountManager:
        """The manager of this process."""
        found = self._managers.get(os.getpid())
        if found is None:
            mine = {os.getpid(): AccountManager(**self._settings())}
            found = self._managers.setdefault(*mine.popitem())
            for stranger in self._managers.keys() - {os.getpid()}:
                self._managers.pop(stranger, None)
        return found

    def close(self) -> None:
        """Close its connections; what is asked for later opens them again."""
        self._managers.clear()
        gc.collect()  # managers and pools refer to each other; redis-py closes what nobody refers to
