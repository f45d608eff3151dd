"""Looking for what must not be: a pool's keys, checked against each other while it is in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from redispool.protocol import scripts
from redispool.protocol.commands import Flow, Pause

if TYPE_CHECKING:
    from redispool.protocol.channel import PoolChannel

_SECTIONS = ("totals", "accounts", "leases", "held", "requests", "queue", "quarantine", "hashes", "choices")


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two of a pool's keys that contradict each other.

    Attributes:
        subject: what it is about: an account or a seat of it, a token, or an index.
        wrong: what is wrong with it.
    """

    subject: str
    wrong: str

    def __str__(self) -> str:
        return f"{self.subject!r}: {self.wrong}"


class AuditFlows:
    """What checks a pool.

    Args:
        channel: the pool's.
    """

    def __init__(self, channel: PoolChannel) -> None:
        self.channel = channel

    def audit(self) -> Flow[list[Disagreement]]:
        """All disagreements that were found, in pages that each hold the server up for a few milliseconds at most."""
        found: dict[Disagreement, None] = {}
        for section in _SECTIONS:
            certain, doubtful = yield from self._look_at(section)
            if (
                doubtful
            ):  # who waits may be on the way to what is free; it is not, if it is still there after it has asked
                yield Pause(max(doubtful.values()))
                _, still = yield from self._look_at(section)
                certain += [one for one in doubtful if one in still]
            found |= dict.fromkeys(certain)
        return list(found)

    def _look_at(self, section: str) -> Flow[tuple[list[Disagreement], dict[Disagreement, float]]]:
        """The disagreements of a section, and those that are none if they are gone after so many seconds."""
        certain: list[Disagreement] = []
        doubtful: dict[Disagreement, float] = {}
        cursor = b"0"
        while cursor != b"end":
            _, (cursor, *rows) = yield from self.channel.call(scripts.AUDIT, section, cursor)
            for subject, wrong, ms in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
                one = Disagreement(subject.decode("utf-8", "replace"), wrong.decode())
                if ms:
                    doubtful[one] = ms / 1000
                else:
                    certain.append(one)
        return certain, doubtful
