"""What is the blocking pool's alone: private pools, processes and threads of one host."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import redis

from redispool import Account, AccountPool
from tests.conftest import wait_until


def run_python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", program, *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)


BEGIN = """
import gc, os, sys, redis
from redispool import Account, AccountPool
from tests.conftest import wait_until
client = redis.Redis.from_url(sys.argv[1])
def keys(name): return sum(f"{{{name}}}" in key.decode() for key in client.scan_iter(match="redispool:*", count=1000))
pool = AccountPool([Account("a1"), Account("a2")], redis=sys.argv[1])
print(pool.name)
"""


def traces(client, name):
    registered = client.sismember("redispool:pools", name)
    return registered, [key for key in client.scan_iter(match="*private:*", count=1000) if name.encode() in key]


def test_a_private_pool_goes_with_its_creator(server, client):
    done = run_python(BEGIN + "pool.acquire_account(); assert keys(pool.name) > 5", server.url)
    assert done.returncode == 0, done.stderr
    assert traces(client, done.stdout.strip()) == (0, [])


def test_a_private_pool_goes_with_its_object(server, client):
    pool = AccountPool(redis=server.url)
    name = pool.name
    del pool
    assert traces(client, name) == (0, [])


def test_a_killed_creator_leaves_a_private_pool_that_can_be_found(server, client):
    done = run_python(BEGIN + "sys.stdout.flush(); os.kill(os.getpid(), 9)", server.url)
    registered, keys = traces(client, done.stdout.strip())
    assert registered
    assert keys


def test_a_forked_child_does_not_take_the_private_pool_with_it(server, client):
    program = (
        BEGIN
        + """
sys.stdout.flush()
if os.fork() == 0:
    pool.acquire_account().release()
    sys.exit()
assert os.wait()[1] == 0
assert len(pool) == 2
del pool; gc.collect()
"""
    )
    done = run_python(program, server.url)
    assert done.returncode == 0, done.stderr
    assert traces(client, done.stdout.split()[0]) == (0, [])


def test_private_pools_are_each_their_own(server):
    one, two = AccountPool(redis=server.url), AccountPool(redis=server.url)
    assert one.name != two.name


def test_without_an_owner_the_process_and_thread_are_named(make_pool):
    pool = make_pool(1)
    with pool.lease() as account:
        host, process, thread = account.lease.owner.split(":")
        assert host
        assert process.isdigit()
        assert thread.isdigit()


def test_a_server_that_cannot_be_reached_is_said_at_once(own_server):
    gone = own_server()
    gone.kill()
    pool = AccountPool(name="p", redis=gone.url)
    for action in (pool.acquire_account, pool.status, pool.reset, lambda: len(pool)):
        with pytest.raises(redis.ConnectionError):
            action()
    with pytest.raises(redis.ConnectionError):
        AccountPool(Account("a1"), redis=gone.url)


def test_a_leased_account_can_be_released_in_another_thread(make_pool):
    pool = make_pool(1)
    account = pool.acquire_account()
    thread = threading.Thread(target=account.release)
    thread.start()
    thread.join(5)
    assert pool.status().free == 1


def test_a_handle_dropped_while_its_server_is_gone_does_not_cost_others_their_leases(own_server, make_pool):
    gone = own_server()
    elsewhere = AccountPool([Account("a1")], name="p", redis=gone.url)
    pool = make_pool(1, ttl=0.5)
    account = pool.acquire_account()
    dropped = elsewhere.acquire_account(owner=None)
    gone.kill()
    with pytest.warns(ResourceWarning):
        del dropped
    end = account.lease.expires_at
    wait_until(lambda: account.lease.expires_at > end + 0.6)
    account.release()
