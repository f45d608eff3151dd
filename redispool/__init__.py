"""Share a pool of login accounts among any number of workers on any number of hosts, through Redis."""

from redispool.account import Account
from redispool.account_files import load_accounts
from redispool.connect import connect
from redispool.errors import (
    AccountExists,
    AcquireTimeout,
    ConfigError,
    LeaseLost,
    NotHeld,
    PoolEmpty,
    PoolExhausted,
    ProtocolMismatch,
    RedispoolError,
    ReplicationError,
    SealError,
    UnknownAccount,
)
from redispool.lease import Lease
from redispool.logger import Log, Logger, LoggerProxy
from redispool.manager import AccountManager
from redispool.pool import AccountPool
from redispool.private_key import PrivateKey
from redispool.proxy import AccountProxy
from redispool.striped import StripedPool

__all__ = [
    "Account", "AccountExists", "AccountManager", "AccountPool", "AccountProxy", "AcquireTimeout", "ConfigError",
    "Lease", "LeaseLost", "Log", "Logger", "LoggerProxy", "NotHeld", "PoolEmpty", "PoolExhausted", "PrivateKey",
    "ProtocolMismatch", "RedispoolError", "ReplicationError", "SealError", "StripedPool", "UnknownAccount", "connect",
    "load_accounts",
]  # fmt: skip
