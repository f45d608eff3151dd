"""An app for the tests: what its tasks see of their accounts they write down in Redis.

Run by `celery -A tests.integrations.celery_app worker`, with REDISPOOL_URL for everything and a namespace of the test.
"""

from __future__ import annotations

import os
import threading
import time

import redis
from celery import Celery

from redispool.integrations.celery import AccountTask, current_account, with_account

URL = os.environ["REDISPOOL_URL"]
NAMESPACE = os.environ["NAMESPACE"]


def make_app(url, namespace):
    """An app whose messages and results are in a namespace of their own as well."""
    made = Celery("tests", broker=url, backend=url)
    made.conf.update(
        redispool_url=url,
        redispool_namespace=namespace,
        redispool_options={"ttl": float(os.environ.get("TTL", "60"))},
        task_default_queue=namespace,
        broker_transport_options={"global_keyprefix": namespace},
        result_backend_transport_options={"global_keyprefix": namespace},
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        result_extended=True,
    )
    return made


app = make_app(URL.partition("?")[0], NAMESPACE)
app.conf.redispool_url = URL
book = redis.Redis.from_url(URL, decode_responses=True)


def note(event, account, *, as_list=f"{NAMESPACE}:notes"):
    book.rpush(as_list, f"{event} {account.name} {account.lease.fence}")


def hold(account, seconds):
    """Use the account, and tell if somebody else does at the same time."""
    key = f"{NAMESPACE}:in-use:{account.name}"
    if not book.set(key, account.lease.token, nx=True, px=60_000):
        note("clash", account)
    try:
        note("use", account)
        time.sleep(seconds)
    finally:
        book.delete(key)
    return account.name


@app.task(base=AccountTask, bind=True, account_pool="switches")
def work(self, seconds=0.0):
    return hold(self.account, seconds)


@app.task(base=AccountTask, account_pool="switches")
def work_unbound(seconds=0.0):
    return hold(current_account(), seconds)


@app.task(bind=True)
@with_account("switches")
def plain(self, seconds=0.0):
    assert self.account is current_account()
    return hold(self.account, seconds)


@app.task
@with_account("switches")
def plain_unbound(seconds=0.0):
    return hold(current_account(), seconds)


@app.task(base=AccountTask, bind=True, account_pool="switches")
def fail(self, *, carry=False):
    note("fail", self.account)
    raise ValueError("as it was told", *([self.account] if carry else []))


@app.task(base=AccountTask, bind=True, account_pool="switches", default_retry_delay=0)
def fail_twice(self):
    note("try", self.account)
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task(base=AccountTask, bind=True, account_pool="switches", soft_time_limit=1)
def softly_limited(self):
    note("start", self.account)
    time.sleep(60)


@app.task(base=AccountTask, bind=True, account_pool="switches", time_limit=1)
def limited(self):
    note("start", self.account)
    time.sleep(60)


@app.task(base=AccountTask, bind=True, account_pool="switches")
def long(self):
    note("start", self.account)
    time.sleep(60)


@app.task(base=AccountTask, bind=True, account_pool="switches", acks_late=True, reject_on_worker_lost=True)
def redelivered(self):
    """Hangs at its first delivery, and is killed then."""
    note("start", self.account)
    if book.incr(f"{NAMESPACE}:deliveries") == 1:
        book.set(f"{NAMESPACE}:pid", os.getpid())
        time.sleep(60)
    return self.account.name


@app.task(base=AccountTask, bind=True, account_pool="switches", account_wait="retry", account_countdown=0.3)
def patient(self, name, seconds=0.0):
    assert self.request.retries == 0
    book.rpush(f"{NAMESPACE}:order", name)
    return hold(self.account, seconds)


@app.task(
    base=AccountTask, bind=True, account_pool="switches", account_wait="retry", account_countdown=0.2, account_timeout=1
)
def impatient(self):
    return self.account.name


@app.task(base=AccountTask, bind=True, account_for=lambda args: args[0])
def visit(self, host, greeting="hello"):
    return f"{greeting} {host} from {self.account.name}"


@app.task(base=AccountTask, bind=True, account_pool="switches")
def give_away(self):
    return self.account


@app.task(base=AccountTask, bind=True, account_pool="switches")
def send_on(self):
    plain.apply_async([self.account], serializer="pickle")


@app.task(
    base=AccountTask,
    bind=True,
    account_pool="switches",
    account_timeout=0.1,
    autoretry_for=(TimeoutError,),
    max_retries=1,
    default_retry_delay=0,
)
def retried_by_celery(self):
    return self.account.name


class Inventory(AccountTask):
    """A task that is a class."""

    name = f"{__name__}.inventory"
    account_pool = "switches"

    def run(self):
        return self.account.name


class LabInventory(Inventory):
    """Takes over the work, and does it with other accounts."""

    name = f"{__name__}.lab_inventory"
    account_pool = "lab"


class LongInventory(Inventory):
    """Does more around the work."""

    name = f"{__name__}.long_inventory"

    def run(self):
        return [self.account.name, super().run(), self.account.name]


for kind in (Inventory, LabInventory, LongInventory):
    app.register_task(kind())


@app.task(base=AccountTask, bind=True, account_for=lambda args: args[-1])
def visit_by_name(self, *, host):
    return self.account.name


@app.task(base=AccountTask, bind=True, account_pool="switches", account_choice={"labels": {"site": "north"}})
def northern(self):
    return [self.account.name, self.account.lease.fence, self.account.password == f"secret-{self.account.name[1:]}"]


@app.task(base=AccountTask, bind=True, account_pool="switches")
def with_another(self):
    """Calls other tasks as functions, each of which has an account of its own."""
    return [self.account.name, plain_unbound(), work.run(), self.account.name]


@app.task
def about_the_process():
    """Which process and thread this is, and whether it can be told from others."""
    return os.getpid(), threading.current_thread().name
