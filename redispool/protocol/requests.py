"""What a caller may ask for, and what the server gives."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from redispool.protocol.foreign import understood

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redispool.protocol.commands import Argument

AGING = 60.0  # seconds of waiting that weigh as much as one step of priority
CLEANUP = "\tcleanup\t"  # wanted by who cleans accounts; no account and no choice of labels is called so


@lru_cache(maxsize=64)  # times that are given in code, and so few
def milliseconds(seconds: float) -> int:
    """Whole milliseconds, never fewer than were asked for."""
    return -int(-seconds * 1000 // 1)


def choice_of(labels: Mapping[str, str]) -> str:
    """The choice of labels as the scripts know it; '' where there are none."""
    return "".join(f"\t{name}={value}" for name, value in sorted(labels.items())) + "\t" if labels else ""


@dataclass(slots=True)  # frozen, it would take three times as long to make
class Request:
    """What a caller wants, under a token that makes it safe to ask twice.

    Attributes:
        token: nobody else's.
        box: the mailbox that a grant is sent to.
        owner: who will hold it.
        ttl: seconds that a lease lives without renewal.
        account: the one wanted; '' for the next in turn.
        priority: steps that it is ahead of others.
        choice: labels that the account must carry (`choice_of`), or CLEANUP.
        count: how many different accounts, all or none.
        exclude: accounts that it must not be.
        prefer: the account that it shall be if that is free; True for the one that the owner had last.
        patient: whether to wait where all that could be had is quarantined.
    """

    token: str
    box: str
    owner: str
    ttl: float
    account: str = ""
    priority: int = 0
    choice: str = ""
    count: int = 1
    exclude: tuple[str, ...] = ()
    prefer: str | bool = False
    patient: bool = False

    @property
    def want(self) -> str:
        """The queue that it waits in: an account's, a choice's, or '' for that of all."""
        return self.account or self.choice

    @property
    def options(self) -> str:
        """What else is wanted, as JSON; '' for nothing."""
        wanted: dict[str, Any] = {}
        if self.count > 1:
            wanted["count"] = self.count
        if self.exclude:
            wanted["exclude"] = self.exclude
        if self.prefer:
            wanted["prefer"] = self.prefer
        if self.patient:
            wanted["patient"] = True
        if self.choice == CLEANUP:
            wanted["purpose"] = "cleanup"
        return json.dumps(wanted, ensure_ascii=False) if wanted else ""

    def words(self, presence: str, stamp: Argument = "", *, wait: bool = True) -> tuple[Argument, ...]:
        """What the acquire script is told; most requests want nothing special, and what would say so is left out.

        Args:
            presence: for how many milliseconds it counts as one that waits.
            stamp: what the script gave it when it began to wait.
            wait: whether it waits if it cannot be served at once.
        """
        usual = (self.owner, str(milliseconds(self.ttl)), presence)
        special = (
            self.want, "" if wait else "0", "" if self.box == self.token else self.box,
            str(int(self.priority * AGING * 1_000_000)) if self.priority else "", stamp, self.options,
        )  # fmt: skip
        return (*usual, *special, self.token) if any(special) else (*usual, self.token)

    def __str__(self) -> str:
        if self.account:
            return f"account {self.account!r}"
        if self.choice == CLEANUP:
            return "an account to be cleaned"
        what = "an account" if self.count == 1 else f"{self.count} accounts"
        return f"{what} with {', '.join(self.choice.split())}" if self.choice else what


@dataclass(slots=True)  # as above
class Grant:
    """What the server gave."""

    token: str  # '' where the account is never locked
    account: str
    fence: int
    acquired_at: float  # seconds since 1970, the server's clock
    expires_at: float
    valid_until: float  # our own monotonic clock; never later than the server's end of the lease
    record: bytes = field(repr=False)


def _read_grant(packed: bytes, asked: float, server_now: int) -> Grant:
    """The grant that a script or a mail tells of.

    Args:
        packed: as the script wrote it.
        asked: when the server was asked, by the monotonic clock.
        server_now: the server's clock, in milliseconds, when it was asked or later.
    """
    _, token, seat, fence, since, expires, record = packed.split(b"\n", 6)
    end = int(expires)
    return Grant(
        token.decode() if end else "",  # a mail names whom it is for, also where the account is never locked
        seat.partition(b"\t")[0].decode(),
        int(fence),
        int(since) / 1000,
        end / 1000,
        asked + (end - server_now) / 1000,
        record,
    )


read_grant = partial(understood, "a grant", _read_grant)
