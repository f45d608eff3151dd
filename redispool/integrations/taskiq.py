"""Taskiq tasks that run with an account of their own: a middleware that has the pools, and a dependency of the task.

    broker = ListQueueBroker(...).with_middlewares(AccountMiddleware(redis="redis://redis.example.com/1"))

    @broker.task
    async def collect(host: str, account: Annotated[Account, leased("switches")]) -> None: ...

The arguments of `leased` are those of `redispool.integrations.celery.with_account`, each as there, but for this:

- There is no account_wait: a task that waits for an account is a coroutine that waits, and most brokers know no delay.
  It takes one of the worker's `--max-async-tasks`.
- The account is one of `redispool.asyncio`: what it does beyond its fields is to be awaited. So it is no use to tasks
  that are not coroutines, but for its fields.
- `account_for` gets the arguments as they were sent, (args, kwargs).
- A task's `timeout` does not count while it waits; that is account_timeout's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator  # noqa: TC003 - Taskiq reads the annotations
from typing import TYPE_CHECKING, Any

from redispool.asyncio import AccountManager
from redispool.asyncio.account import Handle
from redispool.errors import ConfigError
from redispool.tasks import Unsendable, Wish

try:
    from taskiq import Context, TaskiqDepends, TaskiqMiddleware
except ImportError:
    raise ConfigError("the integration with Taskiq needs it: pip install 'redispool[taskiq]'") from None

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["AccountMiddleware", "TaskAccount", "leased"]


class TaskAccount(Unsendable, Handle):
    """The account of a running task."""


class AccountMiddleware(TaskiqMiddleware):
    """Has the pools of a worker's tasks; the arguments are those of `redispool.asyncio.AccountManager`."""

    def __init__(self, **manager: Any) -> None:
        super().__init__()
        self.manager = AccountManager(**manager)

    async def shutdown(self) -> None:
        """Close the connections."""
        await self.manager.aclose()


def leased(
    account_pool: str | None = None,
    *,
    account_for: Callable[[tuple[tuple[Any, ...], dict[str, Any]]], Any] | None = None,
    account_timeout: float | None = None,
    account_choice: Mapping[str, Any] | None = None,
) -> Any:
    """A dependency: the account, from before the task begins until it has ended, however it ends."""
    wish = Wish(account_pool, account_for, timeout=account_timeout, choice=account_choice or {})

    async def account(context: Context = TaskiqDepends(Context)) -> AsyncIterator[TaskAccount]:  # noqa: B008 - its idiom
        manager = next((one.manager for one in context.broker.middlewares if isinstance(one, AccountMiddleware)), None)
        if manager is None:
            raise ConfigError("the broker needs an AccountMiddleware: broker.with_middlewares(AccountMiddleware(...))")
        message = context.message
        if wish.pool is not None:
            pool = manager.pool(wish.pool)
        else:
            pool = await manager.pool_for(wish.host_of((tuple(message.args), message.kwargs)))
        owner = f"{message.task_name}[{message.task_id}]"
        async with pool.lease(owner=owner, timeout=wish.timeout, **wish.choice) as handle:
            handle.__class__ = TaskAccount
            yield handle  # type: ignore[misc]

    return TaskiqDepends(account, use_cache=False)
