"""Share a pool of login accounts among any number of workers on any number of hosts, through Redis."""

from redispool.account import Account
from redispool.connect import connect
from redispool.errors import (
    AccountExists,
    AcquireTimeout,
    ConfigError,
    LeaseLost,
    NotHeld,
    PoolEmpty,
    ProtocolMismatch,
    RedispoolError,
    SealError,
    UnknownAccount,
)
from redispool.lease import Lease
from redispool.manager import AccountManager
from redispool.pool import AccountPool
from redispool.private_key import PrivateKey

__all__ = [
    "Account", "AccountExists", "AccountManager", "AccountPool", "AcquireTimeout", "ConfigError", "Lease", "LeaseLost",
    "NotHeld", "PoolEmpty", "PrivateKey", "ProtocolMismatch", "RedispoolError", "SealError", "UnknownAccount", "connect",
]  # fmt: skip
