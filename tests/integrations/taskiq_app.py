"""Tasks for the tests; run by `taskiq worker tests.integrations.taskiq_app:broker`."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import redis
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

from redispool.asyncio import Account  # noqa: TC001 - Taskiq reads the annotations
from redispool.integrations.taskiq import AccountMiddleware, leased

URL, NAMESPACE = os.environ["REDISPOOL_URL"], "taskiq-tests"

broker = (
    ListQueueBroker(URL, queue_name=NAMESPACE, socket_timeout=None)  # it blocks for ever
    .with_result_backend(RedisAsyncResultBackend(URL, prefix_str=NAMESPACE))
    .with_middlewares(AccountMiddleware(redis=URL, namespace=NAMESPACE, ttl=60))
)
book = redis.Redis.from_url(URL, decode_responses=True)


@broker.task
async def work(seconds: float, account: Annotated[Account, leased("switches")]) -> str:
    await asyncio.sleep(seconds)
    return account.name


@broker.task
def work_in_thread(account: Annotated[Account, leased("switches")]) -> str:
    return account.name


@broker.task
async def fail(account: Annotated[Account, leased("switches")]) -> None:
    raise ValueError(account.name)


@broker.task(timeout=0.3)
async def limited(account: Annotated[Account, leased("switches")]) -> None:
    await asyncio.sleep(60)


@broker.task
async def long(account: Annotated[Account, leased("switches")]) -> None:
    book.set(f"{NAMESPACE}:pid", os.getpid())
    await asyncio.sleep(60)


@broker.task
async def impatient(account: Annotated[Account, leased("switches", account_timeout=0.1)]) -> str:
    return account.name


@broker.task
async def visit(host: str, account: Annotated[Account, leased(account_for=lambda sent: sent[0][0])]) -> str:
    return account.name


@broker.task
async def give_away(account: Annotated[Account, leased("switches")]) -> Account:
    return account
