"""Authentication for httpx with leased accounts: `httpx.Client(auth=AccountAuth(pool))`."""

from __future__ import annotations

import asyncio
import inspect
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from redispool.arguments import check_seconds
from redispool.errors import ConfigError, LeaseLost, UnknownAccount

try:
    import httpx
except ImportError:
    raise ConfigError("the integration with httpx needs it: pip install 'redispool[httpx]'") from None

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Generator, Iterator
    from typing import Self

    from redispool import AccountManager, AccountPool
    from redispool import asyncio as awaited
    from redispool.account import Account


class _Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self._header
        yield request


def basic(account: Account) -> httpx.Auth:
    """HTTP Basic authentication with the account's name and password."""
    return httpx.BasicAuth(account.get_name(), account.get_password())


def digest(account: Account) -> httpx.Auth:
    """HTTP Digest authentication with the account's name and password."""
    return httpx.DigestAuth(account.get_name(), account.get_password())


def bearer(account: Account) -> httpx.Auth:
    """The account's password as a bearer token."""
    return _Bearer(account.get_password())


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a response says of the account: why it is bad, if it is; how many seconds it must rest; that it is good."""

    bad: str = ""
    cooldown: float = 0.0
    good: bool = False

    @property
    def parting(self) -> bool:
        """Whether a session should go on with another account."""
        return bool(self.bad) or self.cooldown > 0


@dataclass(slots=True)
class _Held:
    """An account in use: by one request, or by those of a session; with a verdict, nobody new may use it."""

    account: Any
    users: int = 1
    verdict: Verdict | None = None
    good: bool = False  # it was served before the verdict

    @property
    def rest(self) -> float | None:
        """Seconds of rest that the server has asked for; None leaves it to the pool's own rule."""
        return (self.verdict.cooldown if self.verdict else 0.0) or None

    @property
    def lost(self) -> bool:
        """Whether somebody else may have the account by now."""
        return self.account.lease is not None and self.account.lease.lost


class AccountAuth(httpx.Auth):
    """Sends each request with an account that is leased for it, and judges the account by the response.

    The account is held until the response is closed, which httpx does when the body has been read. A response of
    401 or 403 marks it bad; one of 429 rests it for as long as `Retry-After` says (seconds or a date); one of 2xx
    clears its failures. The response is the caller's in any case: a request sent again goes out with the next account
    in turn.

    For `httpx.Client`, the pool or manager is one that blocks; for `httpx.AsyncClient`, one of `redispool.asyncio`.
    Beside httpx's errors a request raises what acquiring and releasing an account raises: AcquireTimeout, PoolEmpty,
    LeaseLost.

    Args:
        source: an `AccountPool`, or an `AccountManager`, which chooses the pool that serves the host of the URL.
        scheme: makes the `httpx.Auth` for an account; default: `basic`. Others here are `digest` and `bearer`.
        per: 'request'; or 'session': one account serves all requests (with a manager: to one host) until it is marked
            bad, must rest or is lost, or until `close()` or `aclose()`, or the end of a `with` block around this.
        bad_statuses: the statuses that mark the account bad.
        cooldown: seconds of rest after a 429 that names no time.
        max_cooldown: seconds of rest at most, whatever the server asks for.
        account_timeout: seconds to wait for an account; None waits for ever.
        owner: who holds the accounts (see `AccountPool.acquire_account`).

    Raises:
        ConfigError: an argument makes no sense, or the pool is not of the client's kind.
    """

    def __init__(
        self,
        source: AccountPool | AccountManager | awaited.AccountPool | awaited.AccountManager,
        scheme: Callable[[Account], httpx.Auth] = basic,
        *,
        per: str = "request",
        bad_statuses: Collection[int] = (401, 403),
        cooldown: float = 30.0,
        max_cooldown: float = 3600.0,
        account_timeout: float | None = None,
        owner: object = None,
    ) -> None:
        if not callable(getattr(source, "acquire_account", None)):
            raise ConfigError(f"an AccountPool or an AccountManager is needed, not {type(source).__name__}")
        if per not in {"request", "session"}:
            raise ConfigError(f"per must be 'request' or 'session', not {per!r}")
        self._source: Any = source
        self._awaited = inspect.iscoroutinefunction(source.acquire_account)
        self._scheme = scheme
        self._session = per == "session"
        self._bad_statuses = frozenset(bad_statuses)
        self._cooldown = check_seconds("cooldown", cooldown)
        self._max_cooldown = check_seconds("max_cooldown", max_cooldown)
        self._timeout = account_timeout
        self._owner = owner
        self._shared: dict[str, _Held] = {}  # by host
        self._books = threading.Lock()
        self._taking = threading.Lock()
        self._taking_async = asyncio.Lock()

    # -- callers that block --------------------------------------------------------------------------------------

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the request with an account; what `httpx.Client` calls."""
        self._check_kind(awaited=False)
        held = self._take(request)
        verdict, closes = Verdict(), False
        try:
            flow = self._scheme(held.account).sync_auth_flow(request)
            outgoing = next(flow)
            while True:
                response = yield outgoing
                try:
                    outgoing = flow.send(response)
                except StopIteration:
                    break
            verdict, closes = self._judge(request, response), not response.is_closed
            if closes:
                response.stream = _Stream(response.stream, lambda: self._leave(held, verdict))
        finally:
            if not closes:
                self._leave(held, verdict)

    def _take(self, request: httpx.Request) -> _Held:
        if not self._session:
            return _Held(self._acquire(request))
        with self._taking:
            if (idle := self._part_from_lost(request)) is not None:
                with suppress(LeaseLost):  # nobody was using it
                    self._give_back(idle)
            return self._join(request) or self._open(request, self._acquire(request))

    def _leave(self, held: _Held, verdict: Verdict) -> None:
        if self._is_last(held, verdict):
            self._give_back(held)

    @staticmethod
    def _give_back(held: _Held) -> None:
        try:
            with suppress(UnknownAccount):  # it was removed meanwhile
                if held.good:
                    held.account.mark_good()
                if held.verdict and held.verdict.bad:
                    held.account.mark_bad(held.verdict.bad)
        finally:
            held.account.release(cooldown=held.rest)

    def close(self) -> None:
        """Release the session's accounts; one that a response is still open for, when that is closed."""
        for held in self._end_session():
            self._give_back(held)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- callers that await --------------------------------------------------------------------------------------

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send the request with an account; what `httpx.AsyncClient` calls."""
        self._check_kind(awaited=True)
        held = await self._take_async(request)
        verdict, closes = Verdict(), False
        try:
            flow = self._scheme(held.account).async_auth_flow(request)
            outgoing = await anext(flow)
            while True:
                response = yield outgoing
                try:
                    outgoing = await flow.asend(response)
                except StopAsyncIteration:
                    break
            verdict, closes = self._judge(request, response), not response.is_closed
            if closes:
                response.stream = _AsyncStream(response.stream, lambda: self._leave_async(held, verdict))
        finally:
            if not closes:
                await self._leave_async(held, verdict)

    async def _take_async(self, request: httpx.Request) -> _Held:
        if not self._session:
            return _Held(await self._acquire(request))
        async with self._taking_async:
            if (idle := self._part_from_lost(request)) is not None:
                with suppress(LeaseLost):
                    await self._give_back_async(idle)
            return self._join(request) or self._open(request, await self._acquire(request))

    async def _leave_async(self, held: _Held, verdict: Verdict) -> None:
        if self._is_last(held, verdict):
            await self._give_back_async(held)

    @staticmethod
    async def _give_back_async(held: _Held) -> None:
        try:
            with suppress(UnknownAccount):  # it was removed meanwhile
                if held.good:
                    await held.account.mark_good()
                if held.verdict and held.verdict.bad:
                    await held.account.mark_bad(held.verdict.bad)
        finally:
            await held.account.release(cooldown=held.rest)

    async def aclose(self) -> None:
        """See `close`."""
        for held in self._end_session():
            await self._give_back_async(held)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # -- both ----------------------------------------------------------------------------------------------------

    def _check_kind(self, *, awaited: bool) -> None:
        if awaited and not self._awaited:
            raise ConfigError("waiting for an account would block the event loop; give a pool of redispool.asyncio")
        if self._awaited and not awaited:
            raise ConfigError("a pool of redispool.asyncio is for httpx.AsyncClient; give a redispool.AccountPool")

    def _acquire(self, request: httpx.Request) -> Any:
        """An account for the request; under asyncio, what is to be awaited for it."""
        if hasattr(self._source, "acquire_account_for"):
            return self._source.acquire_account_for(request.url.host, self._owner, timeout=self._timeout)
        return self._source.acquire_account(None, self._owner, timeout=self._timeout)

    def _scope(self, request: httpx.Request) -> str:
        return request.url.host if hasattr(self._source, "acquire_account_for") else ""

    def _join(self, request: httpx.Request) -> _Held | None:
        with self._books:
            held = self._shared.get(self._scope(request))
            if held is not None:
                held.users += 1
            return held

    def _open(self, request: httpx.Request, account: Any) -> _Held:
        with self._books:
            held = self._shared[self._scope(request)] = _Held(account)
            return held

    def _part_from_lost(self, request: httpx.Request) -> _Held | None:
        """End a session whose account was lost; it, unless somebody is using it, who gives it back and is told."""
        with self._books:
            held = self._shared.get(self._scope(request))
            if held is None or not held.lost:
                return None
            del self._shared[self._scope(request)]
            held.verdict = Verdict()
            return None if held.users else held

    def _is_last(self, held: _Held, verdict: Verdict) -> bool:
        """Note that a user is done with an account; whether it is to be given back now."""
        with self._books:
            held.users -= 1
            held.good = held.good or (verdict.good and held.verdict is None)
            if verdict.parting or held.lost or not self._session:
                held.verdict = held.verdict if held.verdict and held.verdict.bad else verdict
                self._shared = {scope: other for scope, other in self._shared.items() if other is not held}
            return held.verdict is not None and not held.users

    def _end_session(self) -> list[_Held]:
        with self._books:
            ended, self._shared = list(self._shared.values()), {}
            for held in ended:
                held.verdict = Verdict()
            return [held for held in ended if not held.users]

    def _judge(self, request: httpx.Request, response: httpx.Response) -> Verdict:
        last = response.request  # after redirects, which httpx follows elsewhere without the credentials
        sent, meant = last.headers.get("Authorization"), request.headers.get("Authorization")
        if last.url.host != request.url.host or sent != meant:
            return Verdict()
        if response.status_code in self._bad_statuses:
            return Verdict(bad=f"HTTP {response.status_code} from {request.url.host}")
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            asked = retry_after(response)
            return Verdict(cooldown=min(self._cooldown if asked is None else asked, self._max_cooldown))
        return Verdict(good=response.is_success)


def retry_after(response: httpx.Response) -> float | None:
    """The seconds that a response's Retry-After asks for, by the server's clock; None where it does not say."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    until = _date(text)
    if until is None:
        return None
    now = _date(response.headers.get("Date", "")) or datetime.now(UTC)
    return max((until - now).total_seconds(), 0.0)


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date


class _Stream(httpx.SyncByteStream):
    """A response's body, at whose end the account is let go."""

    def __init__(self, stream: Any, done: Callable[[], None]) -> None:
        self._stream = stream
        self._done = done

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._done()


class _AsyncStream(httpx.AsyncByteStream):
    def __init__(self, stream: Any, done: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self._done = done

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            await self._done()
