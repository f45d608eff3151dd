"""Actors for the tests; run by `dramatiq tests.integrations.dramatiq_app`."""

from __future__ import annotations

import os
import time

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware.asyncio import AsyncIO
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from redispool.integrations.dramatiq import AccountMiddleware, current_account

URL, NAMESPACE = os.environ["REDISPOOL_URL"], "dramatiq-tests"

broker = RedisBroker(url=URL, namespace=NAMESPACE, maintenance_chance=1_000_000, heartbeat_timeout=1000)
broker.add_middleware(Results(backend=RedisBackend(url=URL, namespace=f"{NAMESPACE}-results"), store_results=True))
broker.add_middleware(AsyncIO())
broker.add_middleware(AccountMiddleware(redis=URL, namespace=NAMESPACE, ttl=60))
dramatiq.set_broker(broker)
book = redis.Redis.from_url(URL, decode_responses=True)


@dramatiq.actor(account_pool="switches", max_retries=0)
def work(seconds=0.0):
    time.sleep(seconds)
    return current_account().name


@dramatiq.actor(account_pool="switches", max_retries=0)
async def work_async():
    return current_account().name


@dramatiq.actor(account_pool="switches", max_retries=0)
def fail():
    raise ValueError(current_account())


@dramatiq.actor(account_pool="switches", max_retries=0, time_limit=500)
def limited():
    book.set(f"{NAMESPACE}:started", 1)
    for _ in range(600):
        time.sleep(0.1)


@dramatiq.actor(account_pool="switches", max_retries=3)
def killed():
    if book.incr(f"{NAMESPACE}:deliveries") == 1:
        book.set(f"{NAMESPACE}:pid", os.getpid())
        time.sleep(60)
    return current_account().name


@dramatiq.actor(account_pool="switches", account_wait="retry", account_countdown=0.3, max_retries=0)
def patient(name):
    book.rpush(f"{NAMESPACE}:order", name)
    return current_account().name


@dramatiq.actor(
    account_pool="switches",
    account_wait="retry",
    account_countdown=0.3,
    retry_when=lambda _, error: isinstance(error, ValueError),
)
def patient_and_choosy():
    if book.incr(f"{NAMESPACE}:tries") < 3:
        raise ValueError
    return current_account().name


@dramatiq.actor(account_pool="switches", account_timeout=0.1, max_retries=0)
def impatient():
    return current_account().name


@dramatiq.actor(account_for=lambda args: args[0], max_retries=0)
def visit(host):
    return current_account().name
