"""What redispool is compared with: each peer as something that acquires and releases one shared thing."""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import redis
import redis_lock  # type: ignore[import-untyped]
from redis.lock import Lock
from redis_semaphore import Semaphore, SemaphoreConfig

from redispool import Account, AccountPool
from redispool.asyncio import AccountPool as AsyncPool

if TYPE_CHECKING:
    from collections.abc import Callable

TTL = 60
_TRIVIAL = "return 1"
_COMPARE_AND_DELETE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Contender(Protocol):
    """One client of a peer."""

    def acquire(self) -> Any:
        """Wait for the shared thing, and take it."""

    def release(self) -> Any:
        """Give it back."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A library, or a floor that none can be below.

    Attributes:
        name: as it stands in the table.
        open: makes a contender, from the server's URL and the name of the shared thing.
    """

    name: str
    open: Callable[[str, str], Contender]


def _client(url: str) -> redis.Redis:
    # some peers block for longer than redis-py's default timeout
    return redis.Redis.from_url(url, socket_timeout=2 * TTL)


def _accounts(count: int) -> list[Account]:
    return [Account(f"account-{number}", "a secret") for number in range(count)]


class _Pool:
    def __init__(self, url: str, resource: str, accounts: int = 1) -> None:
        self._pool = AccountPool(
            _accounts(accounts), name=f"{resource}-{accounts}", namespace=resource, redis=url, ttl=TTL
        )

    def acquire(self) -> str:
        self._handle = self._pool.acquire_account()
        return self._handle.name

    def release(self) -> None:
        self._handle.release()


def pool_in_tasks(url: str, resource: str, accounts: int) -> AsyncPool:
    """The pool of `pool_of(accounts)`, for asyncio tasks."""
    return AsyncPool(_accounts(accounts), name=f"{resource}-{accounts}", namespace=resource, redis=url, ttl=TTL)


class _ExscriptPool:
    """Exscript's own pool, which is in this process alone: what the same thing costs without a server."""

    def __init__(self, _url: str, _resource: str) -> None:
        from Exscript.account import Account as Theirs  # noqa: PLC0415 - only one process needs it
        from Exscript.account import AccountPool as TheirPool  # noqa: PLC0415 - as above

        self._pool = TheirPool([Theirs("account", "a secret")])

    def acquire(self) -> None:
        self._account = self._pool.acquire_account()

    def release(self) -> None:
        self._account.release()


class _TwoScripts:
    """Two round trips that run a script which does nothing: what any protocol of two script calls must cost."""

    def __init__(self, url: str, resource: str) -> None:
        self._client = _client(url)
        self._sha = self._client.script_load(_TRIVIAL)
        self._key = resource

    def acquire(self) -> None:
        self._client.evalsha(self._sha, 1, self._key)

    release = acquire


class _SetAndDelete:
    """The lock of Redis's own documentation: SET NX PX, and a script that deletes what is still one's own."""

    def __init__(self, url: str, resource: str) -> None:
        self._client = _client(url)
        self._sha = self._client.script_load(_COMPARE_AND_DELETE)
        self._key = f"{resource}:set"

    def acquire(self) -> None:
        self._token = secrets.token_hex(8)
        if not self._client.set(self._key, self._token, nx=True, px=TTL * 1000):
            raise RuntimeError(f"{self._key} is locked, by nobody of this run")

    def release(self) -> None:
        self._client.evalsha(self._sha, 1, self._key, self._token)


def _redis_py_lock(url: str, resource: str) -> Contender:
    return Lock(_client(url), f"{resource}:redis-py", timeout=TTL)


def _python_redis_lock(url: str, resource: str) -> Contender:
    lock: Contender = redis_lock.Lock(_client(url), f"{resource}:python-redis-lock", expire=TTL)
    return lock


def _py_redis_semaphore(url: str, resource: str) -> Contender:
    name = f"{resource}:py-redis-semaphore"
    return Semaphore(_client(url), SemaphoreConfig(name=name, limit=1, lock_timeout=TTL))


def _pottery_redlock(url: str, resource: str) -> Contender:
    from pottery import Redlock  # noqa: PLC0415 - it takes its time to load

    lock: Contender = Redlock(key=f"{resource}:pottery", masters={_client(url)}, auto_release_time=TTL)
    return lock


def pool_of(accounts: int) -> Peer:
    """Redispool with a pool of so many accounts."""
    return Peer(f"redispool, {accounts} accounts", partial(_Pool, accounts=accounts))


REDISPOOL = Peer("redispool", _Pool)
TWO_SCRIPTS = Peer("two trivial EVALSHA", _TwoScripts)
SET_AND_DELETE = Peer("SET NX + compare-and-delete", _SetAndDelete)
REDIS_PY_LOCK = Peer("redis-py Lock", _redis_py_lock)
PYTHON_REDIS_LOCK = Peer("python-redis-lock", _python_redis_lock)
PY_REDIS_SEMAPHORE = Peer("py-redis-semaphore", _py_redis_semaphore)
POTTERY = Peer("pottery Redlock", _pottery_redlock)
EXSCRIPT = Peer("Exscript's pool, in one process", _ExscriptPool)

UNCONTENDED = (
    REDISPOOL, REDIS_PY_LOCK, TWO_SCRIPTS, SET_AND_DELETE, PYTHON_REDIS_LOCK, PY_REDIS_SEMAPHORE, POTTERY, EXSCRIPT,
)  # fmt: skip
CONTENDED = (REDISPOOL, PYTHON_REDIS_LOCK, PY_REDIS_SEMAPHORE, REDIS_PY_LOCK, POTTERY)


def shuffled(peers: tuple[Peer, ...]) -> list[Peer]:
    """The peers in any order: who always came after one that polls would find the machine asleep."""
    return random.sample(peers, len(peers))
