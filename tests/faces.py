"""The pools and managers of `redispool.asyncio` as ones that block, so that one suite of tests tells how both behave.

Their coroutines run in an event loop in a thread of its own; a call from any other thread waits for its end.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable, Iterable
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry

import redispool
import redispool.asyncio
from redispool.asyncio import account as async_account


class LoopThread:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="tests-loop", daemon=True)
        self._thread.start()

    def call(self, coroutine: Any) -> Any:
        """The coroutine itself for who is in the loop, else what it returns; Ctrl-C cancels it."""
        if threading.current_thread() is self._thread:
            return coroutine
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


_loop = LoopThread()


class _Block:
    """An async context manager for a `with` block."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    def __enter__(self) -> Any:
        return _loop.call(self._manager.__aenter__())

    def __exit__(self, *exception: object) -> Any:
        return _loop.call(self._manager.__aexit__(*exception))


def _blocking(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        if method.__name__ in {"add_account", "acquire_account"} and arguments:
            arguments = (adopted(arguments[0]), *arguments[1:])
        elif method.__name__ == "acquire_account_for" and hasattr(arguments[0], "get_account"):
            adopted(arguments[0].get_account())
        return _loop.call(method(self, *arguments, **options))

    return call


def _as_block(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        manager = method(self, *arguments, **options)
        return manager if asyncio._get_running_loop() else _Block(manager)

    return call


def _faced(kind: type) -> dict[str, Any]:
    """Each coroutine of a class, as one that blocks for who is not in the loop."""
    faced: dict[str, Any] = {}
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if inspect.iscoroutinefunction(method):
            faced[name] = _blocking(method)
        elif inspect.isasyncgenfunction(getattr(method, "__wrapped__", None)):
            faced[name] = _as_block(method)
    faced["__enter__"] = lambda self: self.__aenter__()
    faced["__exit__"] = lambda self, *exception: self.__aexit__(*exception)
    return faced


BlockingAccount: Any = type("Account", (async_account.Account,), _faced(async_account.Account))
BlockingHandle: Any = type(
    "Handle", (async_account.Handle,), {**_faced(async_account.Handle), "plain_type": BlockingAccount}
)


def adopted(argument: Any) -> Any:
    """The same account, or the same ones, with methods that are coroutines in truth."""
    if type(argument) is redispool.Account:
        argument.__class__ = BlockingAccount
        argument._lock = asyncio.Lock()
    elif isinstance(argument, Iterable) and not isinstance(argument, str):
        return [adopted(one) for one in argument]
    return argument


def _async_client(given: Any) -> Any:
    if not isinstance(given, redis.Redis):
        return given
    settings = dict(given.connection_pool.connection_kwargs)
    for name in ("retry", "parser_class", "event_dispatcher", "himport_registry", "maint_notifications_pool_handler"):
        settings.pop(name, None)
    retries = given.get_retry()
    if retries is not None:
        settings["retry"] = Retry(retries._backoff, retries._retries)
    return redis.asyncio.Redis(connection_pool=redis.asyncio.ConnectionPool(**settings))


class Pool(redispool.asyncio.AccountPool):
    """`redispool.asyncio.AccountPool`, to be used like `redispool.AccountPool`."""

    def __init__(self, accounts: Any = None, *, redis: Any = None, **options: Any) -> None:
        super().__init__(adopted(accounts), redis=_async_client(redis), **options)
        self._operations._handle_type = BlockingHandle
        if accounts is not None:
            self.__enter__()

    @property
    def accounts(self) -> Any:
        return _loop.call(super().accounts())

    @property
    def unlocked_accounts(self) -> Any:
        return _loop.call(super().unlocked_accounts())

    def __iter__(self) -> Any:
        return iter(self.accounts)

    def __len__(self) -> int:
        return self.n_accounts()

    def __bool__(self) -> bool:
        return True

    def __contains__(self, account: Any) -> bool:
        return self.has_account(account)


for _name, _method in _faced(redispool.asyncio.AccountPool).items():
    if _name not in {"accounts", "unlocked_accounts"}:
        setattr(Pool, _name, _method)


class _OfBlockingPools(redispool.asyncio.AccountManager):
    def __init__(self, *, redis: Any = None, namespace: str = "redispool", **options: Any) -> None:
        super().__init__(redis=_async_client(redis), namespace=namespace, **options)

        def open_pool(name: str) -> Pool:
            return Pool(name=name, redis=redis, namespace=namespace, **options)

        self._management._pool_type = Pool
        router = self._management.router
        router._open_pool, router._pools = open_pool, {}


Manager: Any = type("Manager", (_OfBlockingPools,), _faced(redispool.asyncio.AccountManager))


class _OfBlockingHandles(redispool.asyncio.StripedPool):
    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        for pool in self.stripes:
            pool._operations._handle_type = BlockingHandle


StripedPool: Any = type("StripedPool", (_OfBlockingHandles,), _faced(redispool.asyncio.StripedPool))
