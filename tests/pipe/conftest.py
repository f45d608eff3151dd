"""A manager, and a child's end of a pipe to it."""

from __future__ import annotations

import multiprocessing
import threading
from contextlib import contextmanager

import pytest

from redispool import Account, AccountManager
from redispool.pipe import serve


@pytest.fixture
def manager(server, pool_name):
    """A manager whose default pool has the accounts a1 and a2; 'lab...' is served by a pool with l1."""
    manager = AccountManager(redis=server.url, namespace=pool_name)
    manager.add_account([Account("a1", "secret-1", "enable-1"), Account("a2", "secret-2", labels={"region": "eu"})])
    manager.pool("lab").add_account(Account("l1", "lab-secret"))
    manager.add_pool(manager.pool("lab"), "lab*")
    return manager


@contextmanager
def served(manager):
    """A child's end of a pipe; at the other end, a thread of ours serves it."""
    ours, childs = multiprocessing.Pipe()
    thread = threading.Thread(target=serve, args=(ours, manager))
    thread.start()
    try:
        yield childs
    finally:
        childs.close()
        thread.join(20)
        assert not thread.is_alive()
