"""What `redispool doctor` checks of the pools."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, cast

from redispool.cli.findings import Finding
from redispool.errors import ProtocolMismatch, SealError
from redispool.identity import new_token
from redispool.protocol.keys import PRIVATE_PREFIX, PoolKeys, pools_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redispool.cli.site import Site

_SAMPLE = 100  # accounts of a pool
_CREATOR = re.compile(rf"{PRIVATE_PREFIX}([\w.-]+):(\d+):[0-9a-f]+:[0-9a-f]+")


class PoolChecks:
    """The checks of a namespace.

    Args:
        site: where it is.
        pool: the only one to look at; None for all.
        deep: whether to take the time to check what is in the keys, and for keys that nobody knows of.
        prune: whether to remove the private pools of processes that are gone.
    """

    def __init__(self, site: Site, pool: str | None, *, deep: bool, prune: bool) -> None:
        self._site = site
        self._client: Any = site.client
        self._names = site.names() if pool is None else [site.pool(pool).name]
        self._deep = deep
        self._prune = prune

    def all(self) -> Iterator[tuple[str, Callable[[], Iterator[Finding]]]]:
        """The name of each check, and what makes it."""
        for name in self._names:
            yield f"pool {name}", lambda name=name: self.pool(name)  # type: ignore[misc]
        yield "private pools", self.private_pools
        if self._deep:
            yield "unknown keys", self.unknown_keys

    def pool(self, name: str) -> Iterator[Finding]:
        """It is of our protocol, it has accounts, and they open with the keys that we have."""
        pool, check = self._site.new_pool(name), f"pool {name}"
        try:
            status = pool.status()
        except ProtocolMismatch as error:
            yield Finding(check, "fail", str(error), "Use the same version of redispool everywhere.")
            return
        shown = f"{status.accounts} accounts, {status.free} free, {status.held} held, {status.waiting} waiting"
        if status.accounts and status.quarantined == status.accounts:
            yield Finding(check, "fail", f"{shown}, all quarantined", "See 'redispool status', then restore some.")
        elif status.quarantined:
            yield Finding(check, "warn", f"{shown}, {status.quarantined} quarantined", "See 'redispool status'.")
        else:
            yield Finding(check, "ok", shown)
        if status.accounts:
            yield from self._sealing(name)
        if self._deep:
            wrong = pool.audit()
            for one in wrong:
                yield Finding(check, "fail", str(one), "Report this, please; remove and add the account to mend it.")
            if not wrong:
                yield Finding(check, "ok", "its keys agree with each other")

    def _sealing(self, name: str) -> Iterator[Finding]:
        keys = PoolKeys(self._site.namespace, name)
        names = cast("list[bytes]", self._client.lrange(keys.members, 0, _SAMPLE - 1))
        records = [record for record in self._client.hmget(keys.accounts, names) if record]
        is_open = sum(record.partition(b"\n")[2].startswith(b"{") for record in records)
        check = f"pool {name}"
        if is_open:
            advice = f"Set REDISPOOL_KEY everywhere, then run 'redispool reseal {name}'."
            yield Finding(check, "warn", f"not sealed: {is_open} of {len(records)} accounts looked at", advice)
            return
        try:
            self._site.new_pool(name).get_account_from_name(names[0].decode())
        except SealError as error:
            yield Finding(check, "warn", f"sealed, and this host cannot open it: {error}", "Set REDISPOOL_KEY.")
        else:
            yield Finding(check, "ok", "sealed, and this host has the key")

    def private_pools(self) -> Iterator[Finding]:
        """The private pools of processes that are gone: nobody knows their names any more."""
        check, here = "private pools", new_token().partition(":")[0]
        elsewhere = 0
        gone: list[str] = []
        for name in self._site.names(private=True):
            creator = _CREATOR.fullmatch(name)
            if creator is None:
                continue
            if creator[1] != here:
                elsewhere += 1
            elif not _is_running(int(creator[2])) and not self._in_use(name):
                gone.append(name)
        for name in gone if self._prune else ():
            pool = self._site.new_pool(name)
            pool.run(pool.operations.leave_no_trace())
        if gone and self._prune:
            yield Finding(check, "ok", f"{len(gone)} of processes that are gone were removed")
        elif gone:
            yield Finding(check, "warn", f"{len(gone)} of processes that are gone", "To remove them: doctor --prune")
        else:
            yield Finding(check, "ok", "none of a process of this host that is gone")
        if elsewhere:
            advice = "Run 'redispool doctor' there as well: only a host knows which of its processes are gone."
            yield Finding(check, "ok", f"{elsewhere} of other hosts", advice)

    def _in_use(self, name: str) -> bool:
        status = self._site.new_pool(name).status()
        return bool(status.held or status.waiting)

    def unknown_keys(self) -> Iterator[Finding]:
        """The pools that are in no list, found among all keys of the server."""
        known = set(self._site.names(private=True))
        prefix = f"{self._site.namespace}:{{"
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*}:meta"
        found = {key.decode("utf-8", "replace") for key in self._client.scan_iter(match=pattern, count=1000)}
        names = {key.removeprefix(prefix).removesuffix("}:meta") for key in found} - known
        for name in sorted(names):
            advice = f"If it should be there, add an account to it; it is missing in {pools_key(self._site.namespace)}."
            yield Finding("unknown keys", "warn", f"pool {name!r} is in no list", advice)
        if not names:
            yield Finding("unknown keys", "ok", "every pool that has keys is listed")


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
