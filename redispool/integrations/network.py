"""Sessions on network devices with leased accounts, by netmiko, scrapli, paramiko and asyncssh.

Each function is a context manager that leases an account for the host, logs in with it, gives the connection to the
block, and closes it at the end:

    with connect_netmiko(manager, "sw1", device_type="cisco_ios") as connection:
        connection.send_command("show version")

They share these arguments:

    source: an `AccountManager`, which chooses the pool that serves the host, or an `AccountPool`.
    host: the host's name or address.
    login_only: False holds the account for the whole session; True only while logging in, as Exscript does: for a login
        server that refuses a second login at a time, but not a second session.
    account_timeout: seconds to wait for an account; None waits for ever.
    bad_on: the errors of a login that count as a failure of the account, such as netmiko's
        NetmikoAuthenticationException; a login that succeeds clears its failures then. Default: none, as for some
        libraries a connection that broke, or a login server that is down, looks like a wrong password.
    owner: who holds the account (see `AccountPool.acquire_account`).

What else is given goes to the library. Beside its errors they raise what acquiring and releasing an account raises:
AcquireTimeout, PoolEmpty, LeaseLost. To do it in another way, lease an account and log in with its keyword arguments:
`ConnectHandler(host=..., **account.for_netmiko())`; likewise `for_scrapli`, `for_paramiko` and `for_asyncssh`.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import redispool
from redispool.errors import ConfigError, UnknownAccount
from redispool.logins import hang_up
from redispool.terms import check_error_classes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager

    from redispool import asyncio as awaited
    from redispool.account import Account
    from redispool.manager import AccountManager
    from redispool.pool import AccountPool

    ErrorClasses = type[BaseException] | tuple[type[BaseException], ...]


def connect_netmiko(
    source: AccountManager | AccountPool,
    host: str,
    *,
    login_only: bool = False,
    account_timeout: float | None = None,
    bad_on: ErrorClasses = (),
    owner: object = None,
    **options: Any,
) -> AbstractContextManager[Any]:
    """A session of netmiko; `options` are those of `netmiko.ConnectHandler`, such as device_type."""
    netmiko = _library("netmiko")

    def log_in(account: Account) -> Any:
        return netmiko.ConnectHandler(host=host, **options, **account.for_netmiko())

    return _session(
        source,
        host,
        owner,
        account_timeout,
        bad_on,
        login_only,
        log_in,
        lambda session: hang_up(session, session.disconnect),
    )


def connect_scrapli(
    source: AccountManager | AccountPool,
    host: str,
    *,
    login_only: bool = False,
    account_timeout: float | None = None,
    bad_on: ErrorClasses = (),
    owner: object = None,
    **options: Any,
) -> AbstractContextManager[Any]:
    """A session of scrapli; `options` are those of `scrapli.Cli`, or of `scrapli.Scrapli` in releases before 2026."""
    scrapli = _library("scrapli")
    driver, at_once = (scrapli.Cli, {"force": True}) if hasattr(scrapli, "Cli") else (scrapli.Scrapli, {})

    def log_in(account: Account) -> Any:
        session = driver(host=host, **options, **account.for_scrapli())
        try:
            session.open()
        except BaseException:
            with suppress(Exception):  # the error of opening says more
                session.close(**at_once)  # it may be logged in already
            raise
        return session

    return _session(source, host, owner, account_timeout, bad_on, login_only, log_in, lambda session: session.close())


def connect_paramiko(
    source: AccountManager | AccountPool,
    host: str,
    *,
    client: Any = None,
    login_only: bool = False,
    account_timeout: float | None = None,
    bad_on: ErrorClasses = (),
    owner: object = None,
    **options: Any,
) -> AbstractContextManager[Any]:
    """A session of paramiko; `options` are those of `paramiko.SSHClient.connect`.

    `client` is an SSHClient with settings of its own, such as the keys of the hosts that it trusts; without one, the
    hosts are those that the system knows.
    """
    paramiko = _library("paramiko")

    def log_in(account: Account) -> Any:
        session = client
        if session is None:
            session = paramiko.SSHClient()
            session.load_system_host_keys()
        try:
            session.connect(host, **options, **account.for_paramiko())
        except BaseException:
            session.close()  # it would keep its thread
            raise
        return session

    return _session(
        source,
        host,
        owner,
        account_timeout,
        bad_on,
        login_only,
        log_in,
        lambda session: hang_up(session, session.close),
    )


@asynccontextmanager
async def connect_asyncssh(
    source: awaited.AccountManager | awaited.AccountPool,
    host: str,
    *,
    login_only: bool = False,
    account_timeout: float | None = None,
    bad_on: ErrorClasses = (),
    owner: object = None,
    **options: Any,
) -> AsyncIterator[Any]:
    """A session of asyncssh, for `async with`; `options` are those of `asyncssh.connect`.

    The manager or the pool is one of `redispool.asyncio`.
    """
    _check(source, import_module("redispool.asyncio"))
    bad = check_error_classes(bad_on)
    asyncssh = _library("asyncssh")
    async with AsyncExitStack() as holding, AsyncExitStack() as session:
        account = await _acquire(source, host, owner, account_timeout)
        holding.push_async_exit(partial(_give_back_async, account))
        try:
            connection = await asyncssh.connect(host, **options, **account.for_asyncssh())
        except bad as error:
            with suppress(Exception):
                await account.mark_bad(type(error).__name__)
            raise
        session.push_async_callback(connection.wait_closed)
        session.callback(connection.close)
        if bad:
            with suppress(UnknownAccount):
                await account.mark_good()
        if login_only:
            await holding.aclose()
        yield connection


@contextmanager
def _session(
    source: AccountManager | AccountPool,
    host: str,
    owner: object,
    account_timeout: float | None,
    bad_on: ErrorClasses,
    login_only: bool,
    log_in: Callable[[Account], Any],
    log_out: Callable[[Any], Any],
) -> Iterator[Any]:
    _check(source, redispool)
    bad = check_error_classes(bad_on)
    with ExitStack() as holding, ExitStack() as session:
        account = _acquire(source, host, owner, account_timeout)
        holding.push(partial(_give_back, account))
        try:
            connection = log_in(account)
        except bad as error:
            with suppress(Exception):  # the error of the login says more
                account.mark_bad(type(error).__name__)  # its text may tell a secret
            raise
        session.callback(log_out, connection)
        if bad:
            with suppress(UnknownAccount):  # it was removed meanwhile
                account.mark_good()
        if login_only:
            holding.close()
        yield connection


def _check(source: Any, module: Any) -> None:
    if not isinstance(source, (module.AccountManager, module.AccountPool)):
        given = f"{type(source).__module__}.{type(source).__qualname__}"
        raise ConfigError(f"an AccountManager or an AccountPool of {module.__name__} is needed, not {given}")


def _acquire(source: Any, host: str, owner: object, timeout: float | None) -> Any:
    """An account for the host; under asyncio, what is to be awaited for it."""
    if hasattr(source, "acquire_account_for"):
        return source.acquire_account_for(host, owner, timeout=timeout)
    return source.acquire_account(None, owner, timeout=timeout)


def _give_back(account: Account, failed: type[BaseException] | None, *_: object) -> None:
    """Release at the end of a block, whose own error comes first."""
    try:
        account.release()
    except Exception:
        if failed is None:
            raise


async def _give_back_async(account: Any, failed: type[BaseException] | None, *_: object) -> None:
    try:
        await account.release()
    except Exception:
        if failed is None:
            raise


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise ConfigError(f"connect_{name}() needs {name}: pip install 'redispool[{name}]'") from None
