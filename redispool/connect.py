"""Clients: from a URL, and of our own beside a user's."""

from __future__ import annotations

import copy
import os
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from redispool.arguments import check_whole
from redispool.discretion import discreet
from redispool.errors import ConfigError
from redispool.urls import Address, parse

DEFAULT_URL = "redis://localhost:6379/0"
_SLICE = 2.0  # seconds
_MOST_PATIENT = 5.0  # seconds without an answer after which a connection is given up, however patient the user's client
_LEAST_PATIENT = 1.0  # the server may be 0.1 s late to end a BLPOP, and every slice costs a script
_SENTINEL_TIMEOUT = 2.0  # seconds; they are asked in turn, and one that is gone must not hold us up for long
_UNLIMITED = 2**31
_REPLICAS = "_redispool_min_replicas"  # an attribute of a client that `connect` has made
_MOST_REPLICAS = 1000
_SHARED = "_redispool_shared"  # likewise, of one that `shared_client` has made
# settings that tie a connection to the pool it was made for, or that serve only what we do not use
_NOT_OURS = frozenset({
    "cache", "cache_config", "connection_pool", "connection_pool_class", "event_dispatcher", "himport_registry",
    "legacy_responses", "maint_notifications_config", "maint_notifications_pool_handler",
    "maintenance_notification_hash", "maintenance_state", "max_connections", "orig_host_address",
    "orig_socket_connect_timeout", "orig_socket_timeout", "oss_cluster_maint_notifications_handler", "parser_class",
    "queue_class", "timeout",
})  # fmt: skip


C = TypeVar("C")


@discreet
def connect(url: str | None = None, *, min_replicas: int | None = None) -> redis.Redis | redis.RedisCluster:
    """A client of redis-py for the URL. Only a cluster's connects at once, and an embedded server is started.

    Args:
        url: default: the environment variable REDISPOOL_URL, else redis://localhost:6379/0. One of

            - `redis://[user:password@]host[:port][/db]`, and `rediss://` with TLS: certificates as in redis-py, by
              `?ssl_ca_certs=FILE&ssl_certfile=FILE&ssl_keyfile=FILE`; the host's name is checked
            - `unix:///path/to/socket[?db=0]`
            - `redis+cluster://[user:password@]host[:port][,host[:port]]`, also `rediss+cluster://`
            - `redis+sentinel://[user:password@]host[:port][,host[:port]]/service[/db]`, also `rediss+sentinel://`;
              the sentinels' own credentials by `?sentinel_username=…&sentinel_password=…`
            - `embedded://[directory]`: an own server, shared by every process that names the same directory

            All but the last take `?min_replicas=N`.
        min_replicas: how many replicas must have a grant before a pool with this client answers it, unless the pool
            is told itself (`AccountPool`); default: what the URL says, else 0.

    Raises:
        ConfigError: the URL makes no sense; the message says what is right, and never quotes the password.
    """
    address = address_of(url)
    return told_of_replicas(_open(address), address.min_replicas if min_replicas is None else min_replicas)


def told_of_replicas(client: C, min_replicas: int) -> C:
    """The client, which remembers how many replicas must have a grant before it is answered."""
    if check_whole("min_replicas", min_replicas, 0, _MOST_REPLICAS):
        setattr(client, _REPLICAS, min_replicas)
    return client


def replicas_of(client: Any, given: int | None) -> int:
    """How many replicas must have a grant before it is answered: as given, else as the client was told."""
    found = getattr(client, _REPLICAS, 0) if given is None else given
    return check_whole("min_replicas", found, 0, _MOST_REPLICAS)


@discreet
def address_of(url: str | None) -> Address:
    """What the URL says, or the environment's, or the default one; raises as `connect` does."""
    if url is None:
        configured = os.environ.get("REDISPOOL_URL")
        return parse(configured, source="the environment variable REDISPOOL_URL") if configured else parse(DEFAULT_URL)
    if not isinstance(url, str):
        raise ConfigError(f"a Redis URL is a string, not {type(url).__name__}")
    return parse(url)


@discreet
def client_from(value: Any) -> redis.Redis | redis.RedisCluster:
    """The client that a caller gave, or the one for the URL that he gave, or for the default.

    Raises:
        ConfigError: it is neither.
    """
    if value is None or isinstance(value, str):
        return connect(value)
    if isinstance(value, redis.Redis | redis.RedisCluster):
        return value
    if type(value).__module__.startswith("redis.asyncio"):
        raise ConfigError("a client of redis.asyncio is for the pools of redispool.asyncio")
    raise ConfigError(f"redis must be a URL, a redis.Redis or a redis.RedisCluster, not {type(value).__name__}")


def _open(address: Address) -> redis.Redis | redis.RedisCluster:
    settings = dict(address.settings)
    if address.kind == "embedded":
        from redispool import embedded  # noqa: PLC0415 - it needs the extra

        return embedded.open_client(address.path, settings)
    if address.kind == "unix":
        settings |= {"connection_class": UnixDomainSocketConnection, "path": address.path}
        return _client(redis.ConnectionPool(**settings))
    if address.kind == "redis":
        (host, port) = address.hosts[0]
        settings |= {"host": host, "port": port} | ({"connection_class": SSLConnection} if address.tls else {})
        return _client(redis.ConnectionPool(**settings))
    encryption: dict[str, Any] = {"ssl": True} if address.tls else {}
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        return redis.RedisCluster(startup_nodes=nodes, **encryption, **settings)
    sentinel = Sentinel(address.hosts, sentinel_kwargs={**encryption, **address.sentinel_settings})
    client: redis.Redis = sentinel.master_for(address.path, **encryption, **settings)
    return client


def private_client(client: redis.Redis | redis.RedisCluster, **overrides: Any) -> redis.Redis | redis.RedisCluster:
    """A client of our own beside the user's, which stays as it is: the same server, credentials and encryption.

    It never retries (the flows do), answers in bytes, has as many connections as it needs, and notices within
    seconds that a connection is dead, whatever the user has set.

    Args:
        client: the user's.
        overrides: settings of redis-py, such as socket_timeout in seconds, that count more than the user's.

    Raises:
        ConfigError: the client is of a replica, which cannot be written to.
    """
    if not overrides and getattr(client, _SHARED, False):
        return client
    if isinstance(client, redis.RedisCluster):
        return _private_cluster(client, overrides)
    pool = client.connection_pool
    settings = own_settings(pool.connection_kwargs, overrides)
    settings |= {"connection_class": pool.connection_class, "max_connections": _UNLIMITED}
    if not isinstance(pool, SentinelConnectionPool):
        return _client(redis.ConnectionPool(**settings))
    if not pool.is_master:
        raise ConfigError("the client is of a replica, which cannot be written to; use Sentinel.master_for()")
    sentinel = copy.copy(pool.sentinel_manager)
    limits = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), _SENTINEL_TIMEOUT)
    sentinel.sentinels = [private_client(one, **limits) for one in sentinel.sentinels]
    return _client(
        SentinelConnectionPool(pool.service_name, sentinel, check_connection=pool.check_connection, **settings)
    )


def shared_client(client: redis.Redis | redis.RedisCluster) -> redis.Redis | redis.RedisCluster:
    """A private client that many pools are to share: each asks for one, and gets this."""
    mine = told_of_replicas(private_client(client), replicas_of(client, None))
    setattr(mine, _SHARED, True)
    return mine


def own_settings(settings: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """A user's settings of connections, as our own are to have them."""
    kept = {name: value for name, value in settings.items() if name not in _NOT_OURS}
    if settings.get("orig_host_address"):  # the server is being moved, and `host` is where it is for the moment
        kept["host"] = settings["orig_host_address"]
    patience = settings.get("socket_timeout") or _MOST_PATIENT
    connecting = settings.get("socket_connect_timeout") or patience
    return {
        **kept,
        "socket_timeout": min(max(patience, _LEAST_PATIENT), _MOST_PATIENT),
        "socket_connect_timeout": min(connecting, _MOST_PATIENT),
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "retry_on_timeout": False,
        "health_check_interval": 0,
        "protocol": 2,  # all that we need, and no pushed messages between our replies
        "decode_responses": False,
        "encoding": "utf-8",
        "encoding_errors": "strict",
        **overrides,
    }


def _client(pool: redis.ConnectionPool) -> redis.Redis:
    # the provider is named again so that redis-py renews the tokens of a streaming one in our pool as well
    client = redis.Redis(connection_pool=pool, credential_provider=pool.connection_kwargs.get("credential_provider"))
    client.auto_close_connection_pool = True
    return client


def _private_cluster(client: redis.RedisCluster, overrides: dict[str, Any]) -> redis.RedisCluster:
    manager = client.nodes_manager
    settings = own_settings(manager.connection_kwargs, overrides)
    settings |= {
        "max_connections": _UNLIMITED,
        "redis_connect_func": client.user_on_connect_func,
        "retry": Retry(NoBackoff(), 0),
        "require_full_coverage": manager._require_full_coverage,  # noqa: SLF001 - redis-py has no other way to tell
        "dynamic_startup_nodes": manager._dynamic_startup_nodes,  # noqa: SLF001
        "address_remap": manager.address_remap,
        "reinitialize_steps": client.reinitialize_steps,
    }
    del settings["retry_on_timeout"], settings["retry_on_error"]  # not for clusters, whose retry says it all
    known = {(node.host, node.port) for node in [*manager.startup_nodes.values(), *client.get_nodes()]}
    if manager.from_url:  # only so does redis-py take a class of connections, which is what its URL became
        host, port = known.pop()
        settings["url"] = f"redis://[{host}]:{port}" if ":" in host else f"redis://{host}:{port}"
    return redis.RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in known], **settings)


def slice_seconds(client: redis.Redis | redis.RedisCluster) -> float:
    """How long one BLPOP on a private client may take, in seconds: well below its socket's timeout."""
    holder = client.nodes_manager if isinstance(client, redis.RedisCluster) else client.connection_pool
    return min(_SLICE, (holder.connection_kwargs.get("socket_timeout") or _MOST_PATIENT) / 2)


def user_of(client: Any) -> str:
    """The name under which a client of either kind logs in to the server; '' where it does not tell."""
    holder = getattr(client, "connection_pool", None) or getattr(client, "nodes_manager", None) or client
    settings: dict[str, Any] = getattr(holder, "connection_kwargs", None) or {}
    provider = settings.get("credential_provider")
    return str(getattr(provider, "username", None) or settings.get("username") or "")
