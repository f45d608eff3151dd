"""Jobs for the tests."""

from __future__ import annotations

import os
import time

import redis

from redispool.integrations.rq import JobAccounts, current_account

URL, NAMESPACE = os.environ["REDISPOOL_URL"], "rq-tests"
accounts = JobAccounts(redis=URL, namespace=NAMESPACE, ttl=60)
book = redis.Redis.from_url(URL, decode_responses=True)


@accounts.with_account("switches")
def work(seconds=0.0):
    time.sleep(seconds)
    return current_account().name


@accounts.with_account("switches")
def fail():
    raise ValueError(current_account())


@accounts.with_account("switches")
def long():
    book.set(f"{NAMESPACE}:pid", os.getpid())
    time.sleep(60)


@accounts.with_account("switches", account_wait="retry")
def patient(name):
    book.rpush(f"{NAMESPACE}:order", name)
    return current_account().name


@accounts.with_account("switches", account_timeout=0.1)
def impatient():
    return current_account().name


@accounts.with_account(account_for=lambda args: args[0])
def visit(host):
    return current_account().name


@accounts.with_account("switches")
def give_away():
    return current_account()
