"""Dramatiq actors that run with an account of their own.

    broker.add_middleware(AccountMiddleware(redis="redis://redis.example.com/1"))

    @dramatiq.actor(account_pool="switches")
    def collect(host):
        account = current_account()

An actor's options are the arguments of `redispool.integrations.celery.with_account`, each as there, but for this:

- While a thread waits for an account, it hears of time limits and shutdowns a few seconds late.
- account_wait='retry' counts against no max_retries; it needs the middleware Retries, with no `retry_when` of its own.
- A broker delivers a killed worker's messages again when it sees fit (Redis: after `heartbeat_timeout`, a minute).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from redispool.errors import ConfigError
from redispool.tasks import WISHES, ManagerOfProcess, Return, Wish, arguments, current_account, holding, take

try:
    from dramatiq.errors import Retry
    from dramatiq.middleware import CurrentMessage, MiddlewareError
except ImportError:
    raise ConfigError("the integration with Dramatiq needs it: pip install 'redispool[dramatiq]'") from None

if TYPE_CHECKING:
    from dramatiq import Actor, Broker, Worker

__all__ = ["AccountMiddleware", "ActorConfigError", "current_account"]

_TICKET = "redispool"  # the message's option that it brings along
_NoneFree = type("NoneFree", (Retry,), {})  # to tell it from what an actor raises itself


class ActorConfigError(MiddlewareError, ConfigError):
    """An option of an actor makes no sense."""


class AccountMiddleware(CurrentMessage):
    """Gives actors with `account_pool` or `account_for` an account; the arguments are those of `AccountManager`."""

    actor_options = WISHES

    def __init__(self, **manager: Any) -> None:
        self.manager = ManagerOfProcess(lambda: manager)

    def before_declare_actor(self, broker: Broker, actor: Actor[..., Any]) -> None:  # noqa: ARG002
        """Lease around the actor's function."""
        options = {name: actor.options[name] for name in WISHES & set(actor.options)}
        if options and (when := actor.options.get("retry_when")):
            actor.options["retry_when"] = lambda retries, error: isinstance(error, _NoneFree) or when(retries, error)
        try:
            actor.fn = self._leasing(actor, actor.fn, Wish.of(options)) if options else actor.fn
        except ConfigError as error:
            raise ActorConfigError(f"actor {actor.actor_name!r}: {error}") from None

    def _leasing(self, actor: Actor[..., Any], function: Any, wish: Wish) -> Any:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            message: Any = self.get_current_message()
            mine = message is not None and message.actor_name == actor.actor_name  # else it was called by another
            options = message.options if mine else {}
            owner = f"{actor.actor_name}[{message.message_id}]" if mine else None
            pool = wish.pool_of(self.manager(), arguments(function, args, kwargs))
            taken = take(wish, pool, owner, may_return=mine, ticket=options.pop(_TICKET, None))
            if isinstance(taken, Return):
                options |= {_TICKET: taken.ticket, "retries": options.get("retries", 0) - 1}  # which Retries adds again
                raise _NoneFree(f"no account of pool {pool.name!r} is free yet", delay=int(taken.countdown * 1000))
            with holding(pool, taken):
                return function(*args, **kwargs)

        return run

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002, D102
        self.manager.close()
