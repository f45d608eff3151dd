"""Celery tasks that run with an account of their own.

    app.conf.redispool_url = "redis://redis.example.com/1"

    @app.task(base=AccountTask, bind=True, account_pool="switches", acks_late=True)
    def collect(self, host):
        with login(host, self.account.name, self.account.password) as session:
            ...

Or on a plain task, below `app.task`:

    @app.task
    @with_account("switches")
    def collect(host):
        account = current_account()

The account is released when the run ends, however it ends: success, failure, retry, soft time limit, and hard time
limit or `revoke(terminate=True)`, for which Celery sends SIGTERM. After SIGKILL, which a task also gets that is not
gone 0.1 s after its hard time limit, it comes back by its TTL. A redelivered task (`acks_late`) gets a new one.

Settings of the app: `redispool_url`, `redispool_namespace`, and `redispool_options`, a dictionary of further arguments
of `AccountPool` (ttl, cipher, ...). Each worker process opens its connection at its first such task, after the fork,
and closes it with the worker. It works in prefork, solo, threads, gevent and eventlet pools; a thread can neither be
terminated nor limited in time, which is Celery's.

`account_wait="retry"`: a task that finds no account free goes back to the broker for `account_countdown` seconds, or up
to ten times as many where many are before it in the queue. Its state is RETRY meanwhile; that counts against no
`max_retries`. It keeps its place in the *pool's* queue: whoever came later, on whatever host, waiting or not, is served
later. So an account that comes free for a task that is away rests until it comes: for the countdown at most; for a
TTL if it never comes (it was revoked, the broker is gone). A task that comes late, as all workers were busy, may have
been passed over; it then stands again where it stood.
"""

from __future__ import annotations

import functools
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from redispool.errors import AcquireTimeout, ConfigError
from redispool.tasks import ManagerOfProcess, Return, TaskAccount, Wish, arguments, current_account, holding, take

try:
    from celery import Celery, Task, current_app, current_task, signals
    from celery.exceptions import Retry
except ImportError:
    raise ConfigError("the integration with Celery needs it: pip install 'redispool[celery]'") from None

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redispool.manager import AccountManager

__all__ = ["AccountTask", "current_account", "manager_of", "with_account"]

_TICKET = "redispool"  # the message header that a task brings along
_running: ContextVar[tuple[Any, Any] | None] = ContextVar("running", default=None)  # a task and its request
_managers: WeakKeyDictionary[Celery, ManagerOfProcess] = WeakKeyDictionary()


def manager_of(app: Celery) -> AccountManager:
    """The manager by which the tasks of an app get their accounts, in this process."""
    conf = app.conf

    def settings() -> dict[str, Any]:
        named = {"redis": conf.get("redispool_url"), "namespace": conf.get("redispool_namespace")}
        return {**conf.get("redispool_options", {}), **{name: one for name, one in named.items() if one is not None}}

    return _managers.setdefault(app, ManagerOfProcess(settings))()


@signals.worker_process_shutdown.connect
@signals.worker_shutdown.connect
def _close(**_: Any) -> None:
    for manager in list(_managers.values()):
        manager.close()


def with_account(
    account_pool: str | None = None,
    *,
    account_for: Callable[[tuple[Any, ...]], Any] | None = None,
    account_wait: str = "block",
    account_timeout: float | None = None,
    account_countdown: float = 1.0,
    account_choice: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have each run of a task get an account: `current_account()`, and `self.account` where the task is bound.

    Args:
        account_pool: the name of the pool; or
        account_for: gives the host, from the tuple of the task's arguments: in the order of its parameters and with
            their defaults, however they were sent; the manager chooses the pool that serves the host.
        account_wait: 'block' waits in the worker slot; 'retry' sends the task back to the broker (see above).
        account_timeout: seconds to wait in all; None waits for ever. With 'retry', by the clocks of the workers' hosts.
        account_countdown: seconds that a task is away with 'retry' if it is among the next.
        account_choice: labels, exclude, prefer, wait_for_restore (see `redispool.terms.Choice`).

    Raises:
        ConfigError: an argument makes no sense. From the task: AcquireTimeout, PoolEmpty, PoolExhausted.
    """
    wish = Wish(account_pool, account_for, account_wait, account_timeout, account_countdown, account_choice or {})

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        if isinstance(function, Task):
            raise ConfigError("with_account goes below app.task, next to the function")
        return _leasing(wish, function)

    return decorate


def _leasing(wish: Wish, function: Callable[..., Any], *, once: bool = False) -> Callable[..., Any]:
    """The function with an account of its own; with `once`, one for all that the same run of the task calls so."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        task, bound = _task_of(args, run)
        this = None if task is None or not once else (task, task.request)
        if this is not None and this == _running.get():  # by super().run()
            return function(*args, **kwargs)
        app: Celery = current_app._get_current_object() if task is None else task.app  # type: ignore[attr-defined] # noqa: SLF001
        pool = wish.pool_of(manager_of(app), arguments(function, args, kwargs)[bound:])
        taken = _take(wish, pool, task)
        if isinstance(taken, Return):
            raise _sent_back(task, taken)
        with holding(pool, taken):
            before = _running.set(this)
            try:
                return function(*args, **kwargs)
            finally:
                _running.reset(before)

    run.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]  # Celery checks arguments by it
    run.leases_once = once  # type: ignore[attr-defined]
    return run


class AccountTask(Task):  # type: ignore[type-arg]  # Celery has no Task[...] at run time
    """A base of tasks, each run of which has an account: `self.account`. The options are those of `with_account`."""

    abstract = True
    account_pool: str | None = None
    account_for: Callable[[tuple[Any, ...]], Any] | None = None
    account_wait = "block"
    account_timeout: float | None = None
    account_countdown = 1.0
    account_choice: Mapping[str, Any] | None = None
    _bound: bool

    @classmethod
    def on_bound(cls, app: Celery) -> None:
        """Lease around `run`, but within what Celery does for `autoretry_for`."""
        super().on_bound(app)
        if "_bound" in cls.__dict__:  # Celery binds a class more than once
            return
        cls._bound = True
        names = ("pool", "wait", "timeout", "countdown", "choice")
        options = {name: getattr(cls, f"account_{name}") for name in names}
        account_for = inspect.getattr_static(cls, "account_for")  # a plain function would come as a method
        if isinstance(account_for, staticmethod):
            account_for = account_for.__func__
        function = inspect.getattr_static(cls, "run")
        static = isinstance(function, staticmethod)
        function = function.__func__ if static else function
        while getattr(function, "leases_once", False):  # a base's own, on its terms
            function = function.__wrapped__
        wish = Wish(host=account_for, **{**options, "choice": options["choice"] or {}})
        run = _leasing(wish, function, once=True)
        cls.run = staticmethod(run) if static else run  # type: ignore[method-assign]

    @property
    def account(self) -> TaskAccount | None:
        """The account of this run; None outside of one."""
        return current_account()


def _task_of(args: tuple[Any, ...], run: Callable[..., Any]) -> tuple[Any, int]:
    """The task that a function runs as, if any, and how many of its arguments are the task itself."""
    if args and isinstance(args[0], Task):
        kind = type(args[0])
        if not hasattr(kind, "account"):
            kind.account = AccountTask.account  # type: ignore[attr-defined]
        return args[0], 1
    task: Any = current_task
    task = task._get_current_object() if task else None  # noqa: SLF001
    inner = None if task is None else task.run
    while inner is not None and inner is not run:  # what Celery and others have put around it
        inner = getattr(inner, "__wrapped__", None)
    return (None if inner is None else task), 0


def _take(wish: Wish, pool: Any, task: Any) -> Any:
    request = None if task is None else task.request
    if request is None or request.called_directly or request.is_eager:
        return take(wish, pool, _owner(task), may_return=False)
    ticket = (request.headers or {}).get(_TICKET)
    if ticket is not None and ticket.get("retries") != request.retries:
        ticket = None  # of an earlier try, which had its account
    return take(wish, pool, _owner(task), may_return=True, ticket=ticket)


def _owner(task: Any) -> str | None:
    return (
        None if task is None or task.request.id is None else f"{task.name}[{task.request.id}]@{task.request.hostname}"
    )


def _sent_back(task: Any, to: Return) -> Retry:
    """Send the task to the broker once more, as `Task.retry` does; what tells Celery that this was done."""
    request = task.request
    ticket = {**to.ticket, "retries": request.retries}
    headers = {**(request.headers or {}), _TICKET: ticket}
    again = task.signature_from_request(request, countdown=to.countdown, retries=request.retries, headers=headers)
    again.apply_async()
    reason = AcquireTimeout(f"no account of pool {ticket['pool']!r} is free yet")
    return Retry(str(reason), exc=reason, when=to.countdown, sig=again)  # type: ignore[arg-type]
