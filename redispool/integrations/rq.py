"""RQ jobs that run with an account of their own. RQ has no middleware, so it is a decorator.

    accounts = JobAccounts(redis="redis://redis.example.com/1")

    @accounts.with_account("switches")
    def collect(host):
        account = current_account()

The arguments of `with_account` are those of `redispool.integrations.celery.with_account`, each as there, but for this:

- A job that fails, or whose time is up, has released its account. One that is stopped (`send_stop_job_command`), and
  one whose worker is stopped at once, is killed: its account comes back by its TTL.
- Each job runs in a process of its own, which opens a connection of its own; SimpleWorker's jobs share one.
- account_wait='retry' needs a worker with its scheduler (`rq worker --with-scheduler`), which counts in whole seconds.
  It counts against no Retry of the job, but `job.number_of_retries` grows.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from redispool.errors import ConfigError
from redispool.tasks import ManagerOfProcess, Return, Wish, arguments, current_account, holding, take

try:
    from rq import Retry, get_current_job
except ImportError:
    raise ConfigError("the integration with RQ needs it: pip install 'redispool[rq]'") from None

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["JobAccounts", "current_account"]

_TICKET = "redispool"  # where it is in the job's meta
_FOR_EVER = 1_000_000_000


class JobAccounts:
    """Gives jobs accounts; the arguments are those of `AccountManager`."""

    def __init__(self, **manager: Any) -> None:
        self.manager = ManagerOfProcess(lambda: manager)

    def with_account(
        self, account_pool: str | None = None, **options: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Have each run of a function get an account; the job's result is a `Retry` where it has to come again."""
        wish = Wish.of({"account_pool": account_pool, **options})

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def run(*args: Any, **kwargs: Any) -> Any:
                job = get_current_job()
                if job is not None and job.func_name != f"{function.__module__}.{function.__qualname__}":
                    job = None  # another one's function has called this one
                pool = wish.pool_of(self.manager(), arguments(function, args, kwargs))
                ticket = None if job is None else job.meta.pop(_TICKET, None)
                owner = None if job is None else f"{job.func_name}[{job.id}]"
                taken = take(wish, pool, owner, may_return=job is not None, ticket=ticket)
                if job is not None and isinstance(taken, Return):
                    job.meta[_TICKET] = taken.ticket
                    job.save_meta()  # type: ignore[no-untyped-call]
                    return Retry(max=_FOR_EVER, interval=math.ceil(taken.countdown))
                assert not isinstance(taken, Return)  # noqa: S101 - it may not return without a job
                if job is not None and ticket is not None:
                    job.save_meta()  # type: ignore[no-untyped-call]
                with holding(pool, taken):
                    return function(*args, **kwargs)

            return run

        return decorate
