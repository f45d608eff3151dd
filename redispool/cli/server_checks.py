"""What `redispool doctor` checks of the server."""

from __future__ import annotations

import ipaddress
import re
import statistics
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import redis
from redis.connection import SSLConnection

from redispool import Account
from redispool.cli.findings import Finding
from redispool.errors import AcquireTimeout
from redispool.private_pool import private_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redispool.cli.site import Site

_OLDEST = (6, 2)
_LATENCY_SAMPLES = 20
_SLOW = 0.01  # seconds
_CLOCK = 1.0
_MEMORY = 0.9  # of the limit
_PATIENCE = 0.1  # seconds that a waiter of the trial waits


class ServerChecks:
    """The checks of one server, or of a node of a cluster.

    Args:
        site: where it is.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._client: Any = site.client

    def all(self) -> Iterator[tuple[str, Callable[[], Iterator[Finding]]]]:
        """The name of each check, and what makes it."""
        yield "version", self.version
        yield "eviction", self.eviction
        yield "memory", self.memory
        yield "persistence", self.persistence
        yield "replicas", self.replicas
        yield "clock", self.clock
        yield "latency", self.latency
        yield "TLS", self.encryption
        yield "rights", self.rights
        yield "trial", self.trial

    @cached_property
    def _info(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._client.info("all"))

    def version(self) -> Iterator[Finding]:
        """It has all that the scripts need."""
        name = "Valkey" if "valkey_version" in self._info else "Redis"
        text = str(self._info.get("valkey_version") or self._info["redis_version"])
        known = tuple(int(part) for part in re.findall(r"\d+", text)[:2])
        if known < _OLDEST:
            yield Finding("version", "fail", f"{name} {text}", "redispool needs Redis 6.2, or Valkey.")
        else:
            yield Finding("version", "ok", f"{name} {text}")

    def eviction(self) -> Iterator[Finding]:
        """It never throws keys away."""
        policy, limit = self._info.get("maxmemory_policy", "unknown"), self._info.get("maxmemory", 0)
        if policy == "noeviction":
            yield Finding("eviction", "ok", "noeviction")
        else:
            advice = "Set maxmemory-policy noeviction: an evicted key is an account held twice, or lost."
            yield Finding("eviction", "fail" if limit else "warn", f"{policy}, with a limit of {limit} bytes", advice)

    def memory(self) -> Iterator[Finding]:
        """There is room."""
        used, limit = self._info.get("used_memory", 0), self._info.get("maxmemory", 0)
        shown = f"{used / 2**20:.0f} MiB used, " + (f"of {limit / 2**20:.0f} MiB" if limit else "no limit")
        full = bool(limit) and used > _MEMORY * limit
        yield Finding("memory", "fail" if full else "ok", shown, "Make room, or raise maxmemory." if full else "")

    def persistence(self) -> Iterator[Finding]:
        """A restart loses nothing."""
        info = self._info
        for field, what in (("aof_last_write_status", "append-only file"), ("rdb_last_bgsave_status", "snapshot")):
            if info.get(field, "ok") != "ok":
                yield Finding(
                    "persistence", "fail", f"the last write of the {what} failed", "Look at the server's log."
                )
        if info.get("aof_enabled"):
            yield Finding("persistence", "ok", "append-only file")
        elif self._snapshots():
            advice = "A restart loses what came after the last one; set appendonly yes."
            yield Finding("persistence", "warn", "snapshots only", advice)
        else:
            yield Finding("persistence", "warn", "none", "A restart loses all accounts; set appendonly yes.")

    def _snapshots(self) -> bool:
        try:
            return bool(self._client.config_get("save").get("save"))
        except redis.ResponseError:  # managed servers have no CONFIG, and this user may have no right to it
            return bool(self._info.get("rdb_last_save_time", 0) > self._info.get("uptime_in_seconds", 0))

    def replicas(self) -> Iterator[Finding]:
        """It is the primary, and its replicas are not far behind."""
        info = self._info
        if info.get("role") != "master":
            yield Finding(
                "replicas", "fail", "this server is a replica", "Use the primary's URL, or redis+sentinel://."
            )
            return
        states = [value for name, value in info.items() if re.fullmatch(r"slave\d+", name) and isinstance(value, dict)]
        broken = [one for one in states if one.get("state") != "online"]
        if broken:
            yield Finding("replicas", "warn", f"{len(broken)} of {len(states)} are not in step", "Look at their logs.")
        else:
            yield Finding("replicas", "ok", f"{len(states)}" if states else "none: the server is all there is")

    def clock(self) -> Iterator[Finding]:
        """Its clock is near ours; the leases go by the server's alone."""
        asked = time.time()
        seconds, microseconds = self._client.time()
        difference = seconds + microseconds / 1e6 - (asked + time.time()) / 2
        if abs(difference) > _CLOCK:
            advice = "Leases go by the server's clock, so they are right; reserve --until and the shown times are not."
            yield Finding("clock", "warn", f"{difference:+.1f} s from this host's", advice)
        else:
            yield Finding("clock", "ok", f"{difference * 1000:+.0f} ms from this host's")

    def latency(self) -> Iterator[Finding]:
        """It answers soon."""
        times = []
        for _ in range(_LATENCY_SAMPLES):
            started = time.perf_counter()
            self._client.ping()
            times.append(time.perf_counter() - started)
        usual, worst = statistics.median(times), max(times)
        shown = f"{usual * 1000:.1f} ms, at most {worst * 1000:.1f} ms of {len(times)} tries"
        slow = usual > _SLOW
        yield Finding("latency", "warn" if slow else "ok", shown, "Each acquisition takes as long." if slow else "")

    def encryption(self) -> Iterator[Finding]:
        """What goes over a network is encrypted."""
        client = self._client
        cluster = isinstance(client, redis.RedisCluster)
        settings = client.nodes_manager.connection_kwargs if cluster else client.connection_pool.connection_kwargs
        kind = None if cluster else client.connection_pool.connection_class
        host = str(settings.get("host") or (client.get_nodes()[0].host if cluster else ""))
        if settings.get("ssl") or settings.get("ssl_cert_reqs") or (kind and issubclass(kind, SSLConnection)):
            yield Finding("TLS", "ok", "the connection is encrypted")
        elif settings.get("path") or not host or _is_here(host):
            yield Finding("TLS", "ok", "none, and none is needed on this host")
        else:
            yield Finding(
                "TLS", "warn", "the connection is not encrypted", "Use rediss://, or at least seal the accounts."
            )

    def rights(self) -> Iterator[Finding]:
        """Not everybody may do everything."""
        user = self._client.acl_whoami()
        name = user.decode() if isinstance(user, bytes) else str(user)
        if name == "default":
            advice = "Make users with 'redispool acl', so that a worker cannot change what there is."
            yield Finding("rights", "warn", "this is the user 'default', who may do all", advice)
        else:
            yield Finding("rights", "ok", f"this is the user {name!r}")

    def trial(self) -> Iterator[Finding]:
        """An account can be leased, waited for and given back."""
        pool = self._site.new_pool(private_name())
        try:
            pool.add_account(Account("trial"))
            with pool.lease(timeout=1.0):
                try:
                    pool.acquire_account(timeout=_PATIENCE)
                except AcquireTimeout:
                    yield Finding("trial", "ok", "an account was leased, waited for and given back")
                else:
                    yield Finding("trial", "fail", "an account was handed out twice", "Report this, please.")
        finally:
            pool.run(pool.operations.leave_no_trace())


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
