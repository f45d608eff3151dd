"""Changing the keys of a pool while it is in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redispool.errors import SealError
from redispool.protocol import scripts
from redispool.protocol.commands import Flow, Plain
from redispool.protocol.records import seal_anew

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redispool.protocol.channel import PoolChannel

_CHUNK = 200  # records in one call; the server is busy for well under a millisecond
_MOST_PASSES = 20


class ResealFlows:
    """Seals a pool's records anew, whoever reads or writes them meanwhile.

    From the first step on, who lacks the new key is refused (`lua/shared/sealing.lua`), and what is written with
    another one is counted, so that the last step knows whether all records have the new one.

    Args:
        channel: the pool's.
    """

    def __init__(self, channel: PoolChannel) -> None:
        self.channel = channel

    def reseal(self, progress: Callable[[int, int], None] | None) -> Flow[int]:
        """Seal every record anew with the first key; how many records that were.

        Raises:
            SealError: a record does not open; or others go on writing records with older keys.
        """
        resealed = 0

        def count(records: int) -> None:
            nonlocal resealed
            resealed += records

        for _ in range(_MOST_PASSES):
            _, (outcome, told) = yield from self.channel.call(scripts.RESEAL, "begin")
            if outcome == b"sealed":
                self.channel.renew_keys(told)
            elif (yield from self._pass(told, progress, count)):
                return resealed
        raise SealError(
            f"others go on writing records of pool {self.channel.keys.pool!r} with another key than the first of ours; "
            "give them the new key first in the list, then reseal again"
        )

    def _pass(
        self, total: int, progress: Callable[[int, int], None] | None, count: Callable[[int], None]
    ) -> Flow[bool]:
        """Go through all records once; whether no record has another key now."""
        done, cursor = 0, b""
        while cursor != b"0":
            words = ("HSCAN", self.channel.keys.accounts, cursor or b"0", "COUNT", str(_CHUNK))
            _, (cursor, found) = yield from self.channel.send(Plain(words))
            for start in range(0, len(found), 2 * _CHUNK):
                chunk = found[start : start + 2 * _CHUNK]
                replaced = yield from self._replace(list(zip(chunk[::2], chunk[1::2], strict=True)))
                if replaced is None:
                    return False
                count(replaced)
                done += len(chunk) // 2
                if progress is not None:
                    progress(min(done, total), total)
        _, (outcome, *_) = yield from self.channel.call(scripts.RESEAL, "finish")
        return bool(outcome == b"finished")

    def _replace(self, rows: Sequence[tuple[bytes, bytes]]) -> Flow[int | None]:
        """Seal some records anew; how many that were, or None when somebody else has begun to reseal the pool."""
        words: list[bytes] = []
        key_ids = self.channel.key_ids
        for name, record in rows:
            anew = seal_anew(name.decode(), record, self.channel.seal, self.channel.keys.pool)
            if anew is not None:
                words += (name, record, anew)
        if key_ids != self.channel.key_ids:  # they were sealed while the keys were changed
            return None
        if not words:
            return 0
        _, (outcome, *replaced) = yield from self.channel.call(scripts.RESEAL, "replace", *words, key_ids=key_ids)
        return int(replaced[0]) if outcome == b"done" else None
