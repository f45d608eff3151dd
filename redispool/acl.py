"""Who may do what to a pool, as rules of the server's own access control (Redis 7 or later, or Valkey).

The fence is the keys, not the scripts: the server checks every command of a script against the rights of who runs
it, for functions as for EVAL. So a worker may read records and not write them, whatever script it sends. What it may
do besides, in the keys that leases live in, `SECURITY.md` says.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from redispool.arguments import check_name, check_namespace, check_pool_name
from redispool.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Role:
    """What a role may do.

    Attributes:
        commands: that it may send, or have a script call.
        full: keys of the pool that these may read and write.
        read: keys of the pool that these may read.
        look: keys of the pool of which these may see the type, and nothing else.
        shared_full: keys of the namespace that these may read and write.
        shared_read: keys of the namespace that these may read.
    """

    commands: str
    full: str
    read: str = ""
    look: str = ""
    shared_full: str = ""
    shared_read: str = ""


_READING = (
    "eval evalsha exists get hexists hget hlen hmget hscan llen lrange ping pttl scard time type xrange xread "
    "xrevrange zcard zrange zrangebyscore zscore "
)
_WORKING = (
    _READING + "blpop del hdel hincrby hset hsetnx lpop lpush pexpire rename rpush sadd set srandmember srem xadd "
    "wait xtrim zadd zpopmin zrank zrem "
)
_LEASES = (
    "meta rotation* places* idle:* lock:* leases held owner:* queue* requests alive:* cooling surplus rest quarantine "
    "health dirty reserved choices carriers:* last:* asking:* told:* replicated events "
)

ROLES = {
    "worker": Role(
        commands=_WORKING,
        full=_LEASES + "mail:*",
        read="members accounts hashes",
        shared_read="routes",
    ),
    "admin": Role(
        commands=_WORKING + "hgetall hkeys lpos lrem lset ltrim sismember smembers zscan",
        full="*",
        shared_full="pools routes",
    ),
    "reader": Role(
        commands=_READING,
        full="meta",  # a script's first key must be; there is no command that writes
        read=_LEASES.replace("meta ", "") + "members",
        look="accounts hashes",
    ),
}
_CLUSTER = "cluster|slots cluster|shards cluster|nodes command readonly readwrite"


def acl_rules(role: str, pool: str, namespace: str = "redispool", *, cluster: bool = False) -> tuple[str, ...]:
    """The rules that make a user of the server a worker, an admin or a reader of one pool, and no more.

    Args:
        role: 'worker' (takes and returns accounts, and cannot change what there are), 'admin' (all that a pool's
            methods do) or 'reader' (`status`, `waiting`, `history`; no credentials).
        pool: the pool's name.
        namespace: its namespace.
        cluster: whether the server is a cluster, of which clients ask more.

    Raises:
        ConfigError: there is no such role, or the name is none.
    """
    if role not in ROLES:
        raise ConfigError(f"the roles are {', '.join(ROLES)}, not {role!r}")
    rights = ROLES[role]
    spaces = f"{_literal(check_namespace(namespace))}:"
    home = f"{spaces}{{{_literal(check_pool_name(pool))}}}:"
    keys = [
        f"{sort}~{prefix}{key}"
        for sort, prefix, names in (
            ("", home, rights.full), ("%R", home, rights.read), ("%W", home, rights.look),
            ("", spaces, rights.shared_full), ("%R", spaces, rights.shared_read),
        )
        for key in names.split()
    ]  # fmt: skip
    commands = sorted({*rights.commands.split(), "select", "client|setname", *(_CLUSTER.split() if cluster else ())})
    return ("resetkeys", "resetchannels", "clearselectors", "-@all", *keys, *(f"+{command}" for command in commands))


def acl_line(
    role: str,
    pool: str,
    namespace: str = "redispool",
    *,
    user: str | None = None,
    password: str | None = None,
    cluster: bool = False,
) -> str:
    """The line for redis-cli, or without its first word for an ACL file, that makes such a user of the server.

    Args:
        role: see `acl_rules`.
        pool: see `acl_rules`.
        namespace: see `acl_rules`.
        user: the user's name; default: `POOL-ROLE`.
        password: the user's password, of which only the hash is shown; None: the passwords stay as they are, and a
            new user has none, so that nobody can log in as it.
        cluster: see `acl_rules`.

    Raises:
        ConfigError: an argument makes no sense; the message says which.
    """
    rules = acl_rules(role, pool, namespace, cluster=cluster)
    name = re.sub(r"[^\w.-]", "-", f"{pool}-{role}") if user is None else _check_user(user)
    secret = () if password is None else ("resetpass", "#" + hashlib.sha256(password.encode()).hexdigest())
    return " ".join(("ACL SETUSER", name, "on", *secret, *rules))


def _check_user(user: Any) -> str:
    name = check_name("the name of a user", user, 200, "\"'\\")
    if any(character.isspace() for character in name):
        raise ConfigError(f"the name of a user must have no spaces, and {name!r} has")
    return name


def _literal(name: str) -> str:
    """The name as a pattern that matches it; the few characters that a line cannot have match any one."""
    return re.sub(r"[\s\"']", "?", re.sub(r"([*?\[\]\\])", r"\\\1", name))
