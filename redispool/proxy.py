"""AccountProxy: an account of an account manager, which may be in another process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from redispool.account import Account, AccountContext, hash_of_name
from redispool.arguments import check_seconds
from redispool.errors import ConfigError, NotHeld, RedispoolError, UnknownAccount
from redispool.hosts import identify, own_account
from redispool.logins import LoginKeywords
from redispool.manager import AccountManager
from redispool.pipe_client import client_of, is_connection
from redispool.private_key import PrivateKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from typing import Self


@dataclass(frozen=True, slots=True)
class _Holding:
    """An acquired account, and what gives it back; None where it is never locked."""

    account: Any  # an Account; or one of Exscript's, if a host brings it
    fence: int
    release: Callable[[], Any] | None


class AccountProxy(LoginKeywords):
    """An object that stands for an account of an account manager, as in `Exscript.account`.

    After `acquire`, the getters tell the account's name and credentials as they were at that time. Over a pipe, the
    serving process renews the lease, and gives the account back when the pipe closes.

    Args:
        parent: an `AccountManager`; or a `multiprocessing.Connection`, at whose other end `redispool.pipe.serve` runs.

    Raises:
        ConfigError: the parent is neither.
    """

    def __init__(self, parent: AccountManager | Connection) -> None:
        if not (isinstance(parent, AccountManager) or is_connection(parent)):
            raise ConfigError(
                f"parent must be an AccountManager or a multiprocessing.Connection, not {type(parent).__name__}"
            )
        self.parent = parent
        self.account_hash: str | int | None = None
        self.host: Any = None
        self.user: str | None = None
        self.password: str | None = None
        self.authorization_password: str | None = None
        self.key: PrivateKey | None = None
        self.labels: dict[str, str] = {}
        self.fence = 0
        self._holding: _Holding | None = None

    @staticmethod
    def for_host(parent: AccountManager | Connection, host: Any, *, timeout: float | None = None) -> AccountProxy:
        """A new proxy that has the account acquired which the manager selects for the host.

        From the heritage. A host that brings an account of its own gets that one; if the manager at the other end
        of a pipe does not know it, it is locked in this process only.

        Args:
            parent: an account manager, or a pipe to one.
            host: a string, or anything with get_name() or get_address(), name or hostname.
            timeout: seconds to wait; None waits for ever, 0 does not wait.

        Raises:
            AcquireTimeout: no account came free in time.
            PoolEmpty: the pool that serves the host has no accounts.
        """
        proxy = AccountProxy(parent)
        identify(host)
        proxy.host = host
        proxy.acquire(timeout=timeout)
        return proxy

    @staticmethod
    def for_account_hash(
        parent: AccountManager | Connection, account_hash: str | int, *, timeout: float | None = None
    ) -> AccountProxy:
        """A new proxy that has the account of that hash acquired. From the heritage.

        Args:
            parent: an account manager, or a pipe to one.
            account_hash: `account.account_hash`, or `hash(account)`.
            timeout: seconds to wait; None waits for ever, 0 does not wait.

        Raises:
            UnknownAccount: the manager has no such account.
            AcquireTimeout: the account did not come free in time.
        """
        proxy = AccountProxy(parent)
        if isinstance(account_hash, bool) or not isinstance(account_hash, str | int):
            raise ConfigError(f"an account's hash is a string or an integer, not {type(account_hash).__name__}")
        proxy.account_hash = account_hash
        proxy.acquire(timeout=timeout)
        return proxy

    @staticmethod
    def for_random_account(parent: AccountManager | Connection, *, timeout: float | None = None) -> AccountProxy:
        """A new proxy that has the next account of the manager's default pool acquired.

        From the heritage, where it sends a request that the other end cannot understand; here it works.

        Args:
            parent: an account manager, or a pipe to one.
            timeout: seconds to wait; None waits for ever, 0 does not wait.

        Raises:
            AcquireTimeout: no account came free in time.
            PoolEmpty: the default pool has no accounts.
        """
        proxy = AccountProxy(parent)
        proxy.acquire(timeout=timeout)
        return proxy

    def __repr__(self) -> str:
        return f"<AccountProxy {self.user!r}{' held' if self._holding is not None else ''}>"

    def __hash__(self) -> int:
        """The hash of the account that was acquired last; before, one that is the proxy's own. From the heritage."""
        if self.user is None:
            return object.__hash__(self)
        return int(hash_of_name(self.user), 16)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __enter__(self) -> Self:
        if self._holding is None:
            self.acquire()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release()

    def note_failure(self, error: object) -> None:
        """Nothing: who has an account by a proxy is none who cleans it."""

    def context(self) -> AccountContext:
        """For a `with` block around an already acquired account: it is released at the end.

        From the heritage, where contexts nest: in the block, `context()` gives one that releases nothing.
        """
        return AccountContext(cast("Any", self), releases=True)

    def acquire(self, *, timeout: float | None = None) -> bool:
        """Acquire an account: for the host that `for_host` named; else the one of before; else the next in turn.

        From the heritage.

        Args:
            timeout: seconds to wait; None waits for ever, 0 does not wait.

        Returns:
            True on success; False if the account is one that needs no lock, so that nothing was locked.

        Raises:
            AcquireTimeout: no account came free in time.
            PoolEmpty: the pool has no accounts.
            UnknownAccount: the manager no longer has the account.
            RedispoolError: this proxy holds an account already; or the pipe is closed.
        """
        if self._holding is not None:
            raise RedispoolError(f"this proxy holds account {self.user!r} already; release it first")
        limit = None if timeout is None else check_seconds("timeout", timeout)
        over_pipe = not isinstance(self.parent, AccountManager)
        holding = self._acquire_over_pipe(limit) if over_pipe else self._acquire_here(limit)
        self._holding = holding
        account = holding.account
        self.account_hash = hash_of_name(account.get_name())
        self.user = account.get_name()
        self.password = account.get_password()
        self.authorization_password = account.get_authorization_password()
        self.key = account.get_key()
        self.labels = getattr(account, "labels", {})
        self.fence = holding.fence
        return holding.release is not None

    def _acquire_here(self, timeout: float | None) -> _Holding:
        manager: Any = self.parent
        if self.host is not None:
            account = manager.acquire_account_for(self.host, timeout=timeout)
        elif self.account_hash is not None:
            known = manager.get_account_from_hash(self.account_hash)
            if known is None:
                raise UnknownAccount("the account manager has no account of that hash")
            account = manager.acquire_account(known, timeout=timeout)
        else:
            account = manager.acquire_account(timeout=timeout)
        return _holding(account)

    def _acquire_over_pipe(self, timeout: float | None) -> _Holding:
        host, account_hash = self.host, self.account_hash
        own = None if host is None else own_account(host)
        if own is not None:
            host, account_hash = None, hash_of_name(own.get_name())
        elif host is not None:
            account_hash = None
        try:
            return self._ask(host, account_hash, timeout)
        except UnknownAccount:
            if own is None:
                raise
        if isinstance(own, Account):
            own.lock_locally(timeout)
        else:
            own.acquire()
        return _Holding(own, 0, own.release)

    def _ask(self, host: Any, account_hash: str | int | None, timeout: float | None) -> _Holding:
        client = client_of(self.parent)  # type: ignore[arg-type]  # no manager, so a connection
        grant, fields = client.call("acquire", host=_plain(host), hash=account_hash, timeout=timeout)
        try:
            key = fields["key"]
            account = Account(
                fields["name"],
                fields["password"],
                fields["password2"],
                None if key is None else PrivateKey.from_fields(key),
                fields["locked"],
                max_sessions=fields["max_sessions"],
                labels=fields["labels"],
            )
            fence = int(fields["fence"])
        except (KeyError, TypeError, ValueError):
            client.cancel(grant)
            fields = None
        if fields is None:  # outside of the handler: what failed may quote a password
            raise RedispoolError(
                "an unexpected reply on the pipe; use the same version of redispool at both of its ends"
            )
        return _Holding(account, fence, (lambda: client.call("release", grant=grant)) if account.needs_lock else None)

    def release(self) -> None:
        """Give the account back; no effect on one that needs no lock. From the heritage.

        Raises:
            NotHeld: this proxy holds no account.
            LeaseLost: it was held, but the lease ended before this call.
            RedispoolError: the pipe is closed; the account was given back then.
        """
        holding = self._holding
        if holding is None:
            raise NotHeld("this proxy holds no account; acquire it first")
        self._holding = None
        if holding.release is not None:
            holding.release()

    def get_name(self) -> str | None:
        """The name of the account, once it was acquired. From the heritage."""
        return self.user

    def get_password(self) -> str | None:
        """The authentication password. From the heritage."""
        return self.password

    def get_authorization_password(self) -> str | None:
        """The authorization password; the authentication password where there is none. From the heritage."""
        return self.authorization_password or self.password

    def get_key(self) -> PrivateKey | None:
        """The private key, if any. From the heritage."""
        return self.key


def _holding(account: Any) -> _Holding:
    lease = getattr(account, "lease", None)
    return _Holding(account, 0 if lease is None else lease.fence, account.release if account.needs_lock else None)


def _plain(host: Any) -> str | dict[str, str] | None:
    """A host as it goes over the pipe."""
    if host is None or isinstance(host, str):
        return host
    identity = identify(host)
    get_address = getattr(host, "get_address", None)
    address = get_address() if callable(get_address) else getattr(host, "hostname", None)
    return {"name": identity.name, "address": address if isinstance(address, str) else identity.name}
