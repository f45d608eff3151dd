"""The pools and managers of `redispool` for asyncio: the same names and arguments, with coroutines for methods.

Where the blocking pool has a property or an operator that asks Redis, there is a coroutine: `await pool.accounts()`,
`await pool.unlocked_accounts()`, `await pool.n_accounts()` for `len(pool)`, `await pool.has_account(name)` for
`name in pool`, and `async for account in pool`. Nothing is sent before the first `await`.
"""

from redispool.asyncio.account import Account
from redispool.asyncio.manager import AccountManager
from redispool.asyncio.pool import AccountPool
from redispool.asyncio.striped import StripedPool

__all__ = ["Account", "AccountManager", "AccountPool", "StripedPool"]
