"""The members of a pool, step by step: add, remove, change, look up, inspect."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from redispool.errors import AccountExists
from redispool.protocol import scripts
from redispool.protocol.commands import Flow, Plain
from redispool.protocol.keys import pools_key
from redispool.protocol.records import says_the_same, seal_anew

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from redispool.protocol.channel import PoolChannel

_ADD_CHUNK = 500
_REMOVE_CHUNK = 100  # each removal walks the list of members
_LOOKUP_CHUNK = 500
_PAGE = 1000


class MemberFlows:
    """What changes or shows the members of a pool.

    Args:
        channel: the pool's.
    """

    def __init__(self, channel: PoolChannel) -> None:
        self.channel = channel
        self._registered = False

    def add(
        self, rows: Iterable[tuple[str, str, bytes]], total: int, progress: Callable[[int, int], None] | None
    ) -> Flow[int]:
        """Add or update accounts, given by name, hash and record; how many were new."""
        added = done = 0
        remaining = iter(rows)
        while True:
            key_ids = self.channel.key_ids
            chunk = list(islice(remaining, _ADD_CHUNK))
            if not chunk:
                return added
            if not self._registered:
                yield from self.lookup("name", [chunk[0][0]])  # is it ours to write to? raises before anything changes
                yield from self.channel.send(
                    Plain(("SADD", pools_key(self.channel.keys.namespace), self.channel.keys.pool))
                )
                self._registered = True
            added += yield from self._add((yield from self._as_they_stand(chunk)), key_ids)
            done += len(chunk)
            if progress is not None:
                progress(done, total)

    def _as_they_stand(self, rows: list[tuple[str, str, bytes]]) -> Flow[list[tuple[str, str, bytes]]]:
        """The rows, with the pool's own record where that says the same: what is sealed once more looks changed."""
        seal, pool = self.channel.seal, self.channel.keys.pool
        if seal is None:
            return rows
        members = yield from self.lookup("name", [name for name, _, _ in rows])
        return [
            (name, a_hash, member[1] if member and says_the_same(name, member[1], record, seal, pool) else record)
            for (name, a_hash, record), member in zip(rows, members, strict=True)
        ]

    def _add(self, rows: Sequence[tuple[str, str, bytes]], key_ids: str) -> Flow[int]:
        """Add what was sealed with the first of these keys."""
        while True:
            while key_ids != self.channel.key_ids:  # it was sealed while the keys were changed
                key_ids = self.channel.key_ids
                rows = [(name, a_hash, self._sealed_anew(name, record)) for name, a_hash, record in rows]
            words = (word for row in rows for word in row)
            reply = yield from self.channel.call_in_full(scripts.ADD, *words, key_ids=key_ids)
            if reply[0] != b"sealed":
                return int(reply[0])
            self.channel.renew_keys(reply[1])

    def _sealed_anew(self, name: str, record: bytes) -> bytes:
        return seal_anew(name, record, self.channel.seal, self.channel.keys.pool) or record

    def remove(self, rows: Sequence[tuple[str, str]]) -> Flow[None]:
        """Remove accounts, given by name and hash. Raises UnknownAccount, before anything has changed."""
        found = yield from self.lookup("name", [name for name, _ in rows])
        for (name, _), member in zip(rows, found, strict=True):
            if member is None:
                raise self.channel.unknown(name)
        for start in range(0, len(rows), _REMOVE_CHUNK):
            chunk = rows[start : start + _REMOVE_CHUNK]
            yield from self.channel.call_in_full(scripts.REMOVE, *(word for row in chunk for word in row))

    def replace(self, name: str, account_hash: str, change: Callable[[bytes], tuple[str, str, bytes]]) -> Flow[None]:
        """Change an account's record, and perhaps its name, whatever others change meanwhile.

        Raises:
            UnknownAccount: the pool has no such account.
            AccountExists: the pool has an account of the new name.
        """
        while True:
            key_ids = self.channel.key_ids
            (member,) = yield from self.lookup("name", [name])
            if member is None:
                raise self.channel.unknown(name)
            record = member[1]
            new_name, new_hash, new_record = change(record)
            if key_ids != self.channel.key_ids:  # it was sealed while the keys were changed
                continue
            reply = yield from self.channel.call_in_full(
                scripts.REPLACE, name, account_hash, record, new_name, new_hash, new_record, key_ids=key_ids
            )
            if reply[0] == b"done":
                return
            if reply[0] == b"sealed":
                self.channel.renew_keys(reply[1])
            if reply[0] == b"exists":
                raise AccountExists(f"pool {self.channel.keys.pool!r} has an account {new_name!r} already")
            if reply[0] == b"unknown":
                raise self.channel.unknown(name)

    def reset(self, *, leave_no_trace: bool = False) -> Flow[None]:
        """Remove all accounts, end all leases, send all waiters away."""
        while True:
            _, (left,) = yield from self.channel.call(scripts.RESET, "1" if leave_no_trace else "0")
            if not left:
                break
        if leave_no_trace:
            yield from self.channel.send(
                Plain(("SREM", pools_key(self.channel.keys.namespace), self.channel.keys.pool))
            )
            self._registered = False

    def lookup(self, by: str, values: Sequence[str]) -> Flow[list[tuple[str, bytes] | None]]:
        """The name and record of each account asked for, `by` 'name' or 'hash'; None for one that there is not."""
        members: list[tuple[str, bytes] | None] = []
        for start in range(0, len(values), _LOOKUP_CHUNK):
            _, reply = yield from self.channel.call(scripts.LOOKUP, by, *values[start : start + _LOOKUP_CHUNK])
            members += [(row[0].decode(), row[1]) if row else None for row in reply]
        return members

    def names(self, which: str) -> Flow[list[str]]:
        """The names of the 'members' in the order added, or of the 'rotation' in the order of their turns."""
        names: list[str] = []
        seen: dict[bytes, int] = {}
        start = 0
        while True:
            _, reply = yield from self.channel.call(scripts.NAMES, which, str(start), str(start + _PAGE - 1))
            for places, name in zip(reply[::2], reply[1::2], strict=True):
                seen[name] = seen.get(name, 0) + 1
                if which == "members" or seen[name] == places:  # of an account's entries, the last is its turn
                    names.append(name.decode())
            if len(reply) < 2 * _PAGE:
                return names
            start += _PAGE
