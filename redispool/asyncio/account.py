"""Accounts whose methods are coroutines."""

# the convention of redis.asyncio: the same names, to be awaited
# mypy: disable-error-code="override"

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from redispool import account as blocking
from redispool import lease

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Generator
    from typing import Self


class Account(blocking.Account):
    """A `redispool.Account` whose `acquire`, `release` and setters are coroutines.

    Add such accounts to a pool of `redispool.asyncio` to release through them, or to be told of events by them. A
    blocking `redispool.Account` can be added as well; the object itself then stays in no pool.
    """

    asynchronous: ClassVar[bool] = True
    lock_type: ClassVar[Any] = asyncio.Lock

    async def run(self, flow: Generator[Any, Any, None]) -> None:
        """Run one of the flows of `redispool.Account`, in the pool's manner or, in no pool, right here."""
        if self._home is not None:
            await self._home.run(flow)
            return
        for step in flow:
            await step

    def _locking(self, timeout: float | None) -> Generator[Coroutine[Any, Any, None], Any, None]:
        yield self.lock_locally(timeout)

    async def lock_locally(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the blocking one's
        """See `redispool.Account.lock_locally`."""
        try:
            async with asyncio.timeout(timeout):
                await self.local_lock.acquire()
        except TimeoutError:
            raise self.not_in_time(timeout) from None

    async def __aenter__(self) -> Self:
        if self.lease is None:
            await self.acquire()
        return self

    async def __aexit__(self, _kind: object, error: object, _trace: object) -> None:
        self.note_failure(error)
        await self.release()

    @asynccontextmanager
    async def context(self) -> AsyncIterator[Self]:
        """For an `async with` block around an already acquired account: it is released at the end."""
        try:
            yield self
        except BaseException as error:
            self.note_failure(error)
            raise
        finally:
            await self.release()

    async def acquire(self, signal: bool = True) -> None:
        """See `redispool.Account.acquire`."""
        await self.run(self.acquiring(signal))

    async def release(self, signal: bool = True, *, cooldown: float | None = None) -> None:
        """See `redispool.Account.release`; once called, it is done even if the task is cancelled."""
        await self.run(self.releasing(signal, cooldown))

    async def set_name(self, name: str) -> None:
        """See `redispool.Account.set_name`."""
        await self.run(self._changing("name", blocking.Hidden(name)))

    async def set_password(self, password: str) -> None:
        """See `redispool.Account.set_password`."""
        hidden = blocking.Hidden(password)
        del password  # a traceback may show what is in a function
        await self.run(self._changing("password", hidden))

    async def set_authorization_password(self, password: str | None) -> None:
        """See `redispool.Account.set_authorization_password`."""
        hidden = blocking.Hidden(password)
        del password  # a traceback may show what is in a function
        await self.run(self._changing("authorization_password", hidden))

    async def mark_bad(self, reason: str, cooldown: float | None = None) -> None:
        """See `redispool.Account.mark_bad`."""
        await self.run(self.marking_bad(reason, cooldown))

    async def mark_good(self) -> None:
        """See `redispool.Account.mark_good`."""
        await self.run(self.marking_good())


class Handle(Account, lease.Handle):
    """What an acquisition gives: the account, bound to the lease of this one acquisition."""

    plain_type: ClassVar[type[blocking.Account]] = Account
