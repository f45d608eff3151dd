"""What an account is. Knows no Redis."""

from __future__ import annotations

import hashlib
import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from redispool.arguments import MAX_SESSIONS, check_account_name, check_labels, check_text, check_whole
from redispool.discretion import discreet
from redispool.errors import AcquireTimeout, ConfigError, NotHeld
from redispool.events import Event, Events
from redispool.logins import LoginKeywords

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import Self

    from redispool.lease import Lease
    from redispool.private_key import PrivateKey

_HASH_DIGITS = 15  # 60 bits: Python leaves integers of that size as they are when it hashes


def hash_of_name(name: str) -> str:
    """The `account_hash` of an account of that name, the same on every host."""
    return hashlib.sha256(name.encode()).hexdigest()[:_HASH_DIGITS]


class Home(Protocol):
    """The pool that an account is in, as the account sees it."""

    @property
    def operations(self) -> Any:
        """What the pool can do, as flows."""

    def run(self, flow: Any) -> Any:
        """Run a flow to its end, or give what awaits that."""


class Hidden:
    """A value that a traceback with local variables does not show."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Account(LoginKeywords):
    """A user account, as in `Exscript.account`; in a pool, what it does, it does for every host.

    Args:
        name: the user name, 1 to 512 bytes of UTF-8, without control characters; '' for an account that is in no pool.
        password: the authentication password; None is ''.
        password2: the authorization password; where it is None, the password serves.
        key: a private key, if the login needs one; one of Exscript's class will do.
        needs_lock: False: the account is handed out in turn but never locked.
        max_sessions: how many may hold the account at a time.
        labels: names and values by which it can be chosen.

    Raises:
        ConfigError: an argument makes no sense; the message says which.
    """

    asynchronous: ClassVar[bool] = False  # whether its methods are coroutines (`redispool.asyncio`)
    lock_type: ClassVar[Any] = threading.Lock

    # what belongs to this process, and is neither copied nor pickled; here, as accounts are made by the thousand
    _lease: Lease | None = None
    _events: Events | None = None
    _home: Home | None = None

    @discreet
    def __init__(
        self,
        name: str,
        password: str | None = "",
        password2: str | None = None,
        key: PrivateKey | None = None,
        needs_lock: bool = True,
        *,
        max_sessions: int = 1,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        # Exscript makes accounts without a name (to authorize) or a password (from a URL); these are in no pool
        self.name = name if name == "" else check_account_name(name)
        self.password = check_text("the password", "" if password is None else password)
        self.authorization_password = None if password2 is None else check_text("the authorization password", password2)
        self.key = key
        self.needs_lock = bool(needs_lock)
        self.max_sessions = check_whole("max_sessions", max_sessions, 1, MAX_SESSIONS)
        self.labels = {} if labels is None else check_labels(labels)

    def __getstate__(self) -> dict[str, Any]:
        private = ("_lease", "_events", "_home", "_lock")
        return {name: value for name, value in self.__dict__.items() if name not in private}

    def __repr__(self) -> str:
        held = " held" if self.lease is not None else ""
        return f"<{type(self).__name__} {self.name!r}{held}>"

    def __eq__(self, other: object) -> bool:
        return self.name == other.name if isinstance(other, Account) else NotImplemented

    def __hash__(self) -> int:
        return int(self.account_hash, 16)

    @property
    def lease(self) -> Lease | None:
        """The lease of a held handle, else None."""
        return None if self._lease is None or self._lease.released else self._lease

    @property
    def account_hash(self) -> str:
        """Names the account without telling its name; the same on every host and in every process."""
        return hash_of_name(self.name)

    @property
    def events(self) -> Events:
        """The account's events in this process."""
        if self._events is None:  # made when somebody asks: a pool may have 100,000 accounts
            self._events = Events()
        return self._events

    @property
    def acquired_event(self) -> Event:
        """Emitted with the account after it was acquired."""
        return self.events.acquired

    @property
    def released_event(self) -> Event:
        """Emitted with the account after it was released."""
        return self.events.released

    @property
    def changed_event(self) -> Event:
        """Emitted with the account after its name or a password was changed through this object."""
        return self.events.changed

    def __enter__(self) -> Self:
        if self.lease is None:
            self.acquire()
        return self

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        self.note_failure(error)
        self.release()

    def note_failure(self, error: object) -> None:
        """Remember that a block in which the account is held raised: who was to clean the account has not done so."""
        if error is not None and self._lease is not None:
            self._lease.failed = True

    def context(self) -> AccountContext:
        """For a `with` block around an already acquired account: it is released at the end.

        From the heritage, where contexts nest: in the block, `context()` gives one that releases nothing.
        """
        return AccountContext(self, releases=True)

    def acquire(self, signal: bool = True) -> None:
        """Wait for this account and lock it; no effect where `needs_lock` is False.

        Args:
            signal: whether to emit `acquired_event`.

        Raises:
            UnknownAccount: it is no longer in its pool.
        """
        self.run(self.acquiring(signal))

    @property
    def local_lock(self) -> Any:
        """The lock that an account in no pool has in this process."""
        return self.__dict__.setdefault("_lock", self.lock_type())

    def lock_locally(self, timeout: float | None = None) -> None:
        """Take the lock that an account in no pool has in this process; `release` gives it back.

        Args:
            timeout: seconds to wait; None waits for ever.

        Raises:
            AcquireTimeout: it was held all that time.
        """
        if not self.local_lock.acquire(timeout=-1 if timeout is None else timeout):
            raise self.not_in_time(timeout)

    def not_in_time(self, timeout: float | None) -> AcquireTimeout:
        """The error that says that the account did not come free."""
        return AcquireTimeout(f"account {self.name!r} did not come free within {timeout:g} seconds")

    def release(self, signal: bool = True, *, cooldown: float | None = None) -> None:
        """Unlock the account; no effect where `needs_lock` is False.

        Args:
            signal: whether to emit `released_event`.
            cooldown: seconds that the account rests before it is handed out again; None for the pool's own cooldown.

        Raises:
            NotHeld: it is not held.
            LeaseLost: it was held, but the lease ended before this call.
        """
        self.run(self.releasing(signal, cooldown))

    def get_name(self) -> str:
        """The name of the account."""
        return self.name

    def get_password(self) -> str:
        """The authentication password."""
        return self.password

    def get_authorization_password(self) -> str:
        """The authorization password; the authentication password where there is none."""
        return self.authorization_password or self.password

    def get_key(self) -> PrivateKey | None:
        """The private key, if any."""
        return self.key

    def set_name(self, name: str) -> None:
        """Rename the account; in a pool, for every host and at once.

        Raises:
            AccountExists: the pool has an account of that name.
            UnknownAccount: it is no longer in its pool.
        """
        self.run(self._changing("name", Hidden(name)))

    def set_password(self, password: str) -> None:
        """Change the password; in a pool, every host sees it at its next acquisition."""
        hidden = Hidden(password)
        del password  # a traceback may show what is in a function
        self.run(self._changing("password", hidden))

    def set_authorization_password(self, password: str | None) -> None:
        """Change the authorization password; None: the password serves."""
        hidden = Hidden(password)
        del password  # a traceback may show what is in a function
        self.run(self._changing("authorization_password", hidden))

    def mark_bad(self, reason: str, cooldown: float | None = None) -> None:
        """Count a failure of the account; at the pool's `max_failures` it is quarantined. It stays held until released.

        Args:
            reason: what happened, for people; no secrets, please.
            cooldown: seconds that it rests, after its release or from now.

        Raises:
            UnknownAccount: it is no longer in its pool.
        """
        self.run(self.marking_bad(reason, cooldown))

    def mark_good(self) -> None:
        """Forget the failures that were counted.

        Raises:
            UnknownAccount: it is no longer in its pool.
        """
        self.run(self.marking_good())

    # -- what the methods do, as flows ---------------------------------------------------------------------------

    def run(self, flow: Generator[Any, Any, None]) -> Any:
        """Run a flow in the pool's manner; in no pool there is nothing to send."""
        if self._home is not None:
            return self._home.run(flow)
        for _ in flow:
            pass
        return None

    def acquiring(self, signal: bool = True, timeout: float | None = None) -> Generator[Any, Any, None]:
        """What `acquire` does, as a flow; in no pool, for so many seconds at most."""
        if not self.needs_lock:
            return
        if self._home is None:
            yield from self._locking(timeout)
        else:
            yield from self._home.operations.acquire_for(self)
        if signal and self._events is not None:  # else nobody has ever asked for them
            self._events.acquired(self)

    def _locking(self, timeout: float | None) -> Generator[Any, Any, None]:
        self.lock_locally(timeout)
        yield from ()

    def releasing(self, signal: bool = True, cooldown: float | None = None) -> Generator[Any, Any, None]:
        """What `release` does, as a flow."""
        if not self.needs_lock:
            return
        if self._home is not None:
            yield from self._home.operations.release_for(self, cooldown)
        elif self.local_lock.locked():
            self.local_lock.release()
        else:
            raise NotHeld(f"account {self.name!r} is not held; acquire it first")
        if signal and self._events is not None:
            self._events.released(self)

    def marking_bad(self, reason: str, cooldown: float | None) -> Generator[Any, Any, None]:
        """What `mark_bad` does, as a flow."""
        yield from self._oversight().mark_bad(self, reason, cooldown)

    def marking_good(self) -> Generator[Any, Any, None]:
        """What `mark_good` does, as a flow."""
        yield from self._oversight().mark_good(self)

    def _oversight(self) -> Any:
        if self._home is None:
            raise ConfigError(f"account {self.name!r} is in no pool, which could count its failures")
        return self._home.operations.oversight

    def _changing(self, attribute: str, hidden: Hidden) -> Generator[Any, Any, None]:
        _CHECKS[attribute](hidden.value)
        if self._home is not None:
            yield from self._home.operations.rewrite(self, attribute, hidden)
        setattr(self, attribute, hidden.value)
        self.changed_event(self)


class AccountContext:
    """An acquired account for a `with` block, in which it serves like the account itself; see `Account.context`."""

    def __init__(self, account: Account, *, releases: bool) -> None:
        self._account = account
        self._releases = releases

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # Exscript's protocols acquire an account that is no instance of their own Context once more
        heritage = sys.modules.get("Exscript.util.impl")
        return AccountContext if heritage is None else heritage.Context

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        self._account.note_failure(error)
        if self._releases:
            self._account.release()

    def __getattr__(self, name: str) -> Any:
        if name == "_account":  # a copy that is being made has none yet
            raise AttributeError(name)
        return getattr(self._account, name)

    def __eq__(self, other: object) -> bool:
        return self._account == (other._account if type(other) is AccountContext else other)

    def __hash__(self) -> int:
        return hash(self._account)

    def __repr__(self) -> str:
        return repr(self._account)

    def context(self) -> AccountContext:
        """The same account for an inner block, which does not release it."""
        return AccountContext(self._account, releases=False)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "name": check_account_name,
    "password": discreet(lambda value: check_text("the password", value)),
    "authorization_password": discreet(lambda value: value is None or check_text("the authorization password", value)),
}
