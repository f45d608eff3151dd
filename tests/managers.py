"""What the tests of managers ask again and again."""

from __future__ import annotations

from redispool import Account


def fill(manager, *names):
    """Gives each named pool an account of the pool's name and some digits."""
    for name in names:
        manager.pool(name).add_account(Account(f"{name}-account", "secret"))


def serves(manager, host):
    """The name of the pool whose account the host gets."""
    account = manager.acquire_account_for(host, timeout=0)
    account.release()
    return account.name.removesuffix("-account")
