"""Whatever the blocking classes can do, those of asyncio can, under the same names and with the same arguments."""

from __future__ import annotations

import inspect

import pytest

import redispool
import redispool.asyncio
from redispool import lease
from redispool.asyncio import account as async_account


def public(kind):
    return {name: member for name, member in inspect.getmembers(kind) if not name.startswith("_")}


def parameters(method):
    return [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]


@pytest.mark.parametrize(
    ("blocking", "awaiting"),
    [
        (redispool.AccountPool, redispool.asyncio.AccountPool),
        (redispool.AccountManager, redispool.asyncio.AccountManager),
        (redispool.StripedPool, redispool.asyncio.StripedPool),
        (redispool.Account, redispool.asyncio.Account),
        (lease.Handle, async_account.Handle),
    ],
)
def test_every_name_is_there_with_the_same_arguments(blocking, awaiting):
    theirs = public(awaiting)
    assert set(public(blocking)) - set(theirs) == set()
    for name, member in public(blocking).items():
        if inspect.isfunction(member):
            assert parameters(theirs[name]) == parameters(member), name
    assert parameters(awaiting.__init__) == parameters(blocking.__init__)
