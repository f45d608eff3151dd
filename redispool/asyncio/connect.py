"""Clients of redis.asyncio: from the URLs that the blocking pools take, and of our own beside a user's."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any, TypeAlias

import redis
import redis.asyncio as async_redis
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from redispool.connect import address_of, own_settings, told_of_replicas
from redispool.discretion import discreet
from redispool.errors import ConfigError

if TYPE_CHECKING:
    from redispool.urls import Address

Client: TypeAlias = async_redis.Redis | async_redis.RedisCluster

_SLICE = 2.0  # seconds that one BLPOP may take
_SENTINEL_TIMEOUT = 2.0  # seconds; they are asked in turn, and one that is gone must not hold us up for long
# what redis-py's cluster keeps among the settings of its connections, and makes anew
_OF_A_CLUSTER = ("connection_class", "response_callbacks", "retry_on_timeout", "retry_on_error")


@discreet
def client_from(value: Any) -> Client:
    """The client that a caller gave, or the one for the URL that he gave, or for the default; it connects when used.

    Raises:
        ConfigError: it is neither.
    """
    if value is None or isinstance(value, str):
        address = address_of(value)
        return told_of_replicas(_open(address), address.min_replicas)
    if isinstance(value, async_redis.Redis | async_redis.RedisCluster):
        return value
    if isinstance(value, redis.Redis | redis.RedisCluster):
        raise ConfigError("a client that blocks is for the pools of redispool itself; give one of redis.asyncio")
    raise ConfigError(
        f"redis must be a URL, a redis.asyncio.Redis or a redis.asyncio.RedisCluster, not {type(value).__name__}"
    )


def _open(address: Address) -> Client:
    settings = dict(address.settings)
    if address.kind == "embedded":
        settings |= {"connection_class": EmbeddedConnection, "directory": address.path}
        return async_redis.Redis(connection_pool=async_redis.ConnectionPool(**settings))
    if address.kind == "unix":
        settings |= {"connection_class": UnixDomainSocketConnection, "path": address.path}
        return async_redis.Redis(connection_pool=async_redis.ConnectionPool(**settings))
    if address.kind == "redis":
        (host, port) = address.hosts[0]
        settings |= {"host": host, "port": port} | ({"connection_class": SSLConnection} if address.tls else {})
        return async_redis.Redis(connection_pool=async_redis.ConnectionPool(**settings))
    if address.tls:
        settings["ssl"] = True
    if address.kind == "cluster":
        return async_redis.RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in address.hosts], **settings
        )
    encryption = {"ssl": True} if address.tls else {}
    sentinel = Sentinel(address.hosts, sentinel_kwargs={**encryption, **address.sentinel_settings})
    client: async_redis.Redis = sentinel.master_for(address.path, **settings)
    return client


def private_client(client: Client, **overrides: Any) -> Client:
    """A client of our own beside the user's, for one event loop; see `redispool.connect.private_client`."""
    overrides = {"retry": Retry(NoBackoff(), 0), **overrides}
    if isinstance(client, async_redis.RedisCluster):
        return _private_cluster(client, overrides)
    pool = client.connection_pool
    settings = {**own_settings(pool.connection_kwargs, overrides), "connection_class": pool.connection_class}
    if not isinstance(pool, SentinelConnectionPool):
        return async_redis.Redis(connection_pool=async_redis.ConnectionPool(**settings))
    if not pool.is_master:
        raise ConfigError("the client is of a replica, which cannot be written to; use Sentinel.master_for()")
    sentinel = copy.copy(pool.sentinel_manager)
    limits = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), _SENTINEL_TIMEOUT)
    sentinel.sentinels = [private_client(one, **limits) for one in sentinel.sentinels]
    mine = SentinelConnectionPool(pool.service_name, sentinel, check_connection=pool.check_connection, **settings)
    return async_redis.Redis(connection_pool=mine)


def _private_cluster(client: async_redis.RedisCluster, overrides: dict[str, Any]) -> async_redis.RedisCluster:
    manager = client.nodes_manager
    settings = own_settings(client.connection_kwargs, overrides)
    for name in _OF_A_CLUSTER:
        settings.pop(name, None)
    known = {(node.host, int(node.port)) for node in [*client.startup_nodes, *manager.nodes_cache.values()]}
    return async_redis.RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in known],
        ssl=issubclass(client.connection_kwargs["connection_class"], SSLConnection),
        require_full_coverage=manager.require_full_coverage,
        address_remap=manager.address_remap,
        reinitialize_steps=client.reinitialize_steps,
        **settings,
    )


def slice_seconds(client: Client) -> float:
    """How long one BLPOP on a client's private sibling may take, in seconds: well below its socket's timeout."""
    holder = client if isinstance(client, async_redis.RedisCluster) else client.connection_pool
    return float(min(_SLICE, own_settings(holder.connection_kwargs, {})["socket_timeout"] / 2))


class EmbeddedConnection(UnixDomainSocketConnection):
    """A connection to an embedded server, which it starts if it does not run; see `redispool.embedded`.

    Args:
        directory: the server's.
        settings: as for any other connection of redis-py.
    """

    def __init__(self, directory: str = "", **settings: Any) -> None:
        super().__init__(**settings)
        self.directory = directory

    async def connect(self) -> None:
        """Connect, unless it is connected."""
        if not self.is_connected:
            self.path = await asyncio.to_thread(_join, self.directory)
        try:
            await super().connect()  # type: ignore[no-untyped-call]
        except redis.ConnectionError:
            await asyncio.to_thread(_ensure_server, self.directory)
            await super().connect()  # type: ignore[no-untyped-call]


def _join(directory: str) -> str:
    from redispool import embedded  # noqa: PLC0415 - it needs the extra

    place = str(embedded.private_directory(directory))
    embedded.binary()
    embedded.join(place)
    return embedded.socket_path(place)


def _ensure_server(directory: str) -> None:
    from redispool import embedded  # noqa: PLC0415 - it needs the extra

    embedded.ensure_server(str(embedded.private_directory(directory)))
