"""What a flow may ask of its driver: run a script, block on a mailbox, send one plain command, pause."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from redispool.protocol.scripts import Script

# no numbers: hiredis, which would print them, crashes if a handler raises meanwhile (Ctrl-C)
Argument: TypeAlias = str | bytes


@dataclass(frozen=True, slots=True)
class Replication:
    """What must have been replicated before a reply is taken.

    Attributes:
        key: written after the script, by the same connection: a replica that has this has all that was before.
        replicas: how many must have it.
    """

    key: str
    replicas: int


@dataclass(slots=True)  # frozen, it would take three times as long to make
class Call:
    """Run a script; the reply is what it returns, `Unreplicated` where too few replicas have what led to it."""

    script: Script
    key: str
    arguments: tuple[Argument, ...] = field(repr=False)  # records are among them
    replication: Replication | None = None


@dataclass(frozen=True, slots=True)
class Plain:
    """Send one command; the reply is the server's."""

    words: tuple[Argument, ...] = field(repr=False)


@dataclass(slots=True)  # as above
class Block:
    """Wait for a mail; the reply is its bytes, or None when the time is up.

    Attributes:
        mailbox: the key to block on.
        token: whose mail it is, where many wait at one mailbox.
        seconds: when to be back, for one who waits at his own.
        longest: the same for one of many, whose mailbox is attended to (`LeaseFlows.attend`) after `seconds`.
    """

    mailbox: str
    token: str
    seconds: float
    longest: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait, because there is nobody to talk to."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Run a flow where it belongs, over the connections of its own pool; the reply is what it returns.

    Attributes:
        home: the pool, or an account in no pool; its `run` runs flows, or gives what awaits that.
        flow: the flow.
    """

    home: Any
    flow: Generator[Any, Any, Any]


Command: TypeAlias = Call | Plain | Block | Pause | Elsewhere
T = TypeVar("T")
Flow: TypeAlias = Generator[Command, Any, T]


class Unavailable(Exception):  # noqa: N818 - it never leaves the flows
    """The server cannot be reached, or cannot serve just now; thrown into a flow by its driver.

    Args:
        cause: the client library's error, which the caller gets when patience is at its end.
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Unanswered(Unavailable):
    """The server was there, and its answer did not come: it may have done what it was asked."""


class Unreplicated(Unavailable):
    """The server has answered, and too few of its replicas have confirmed that they know."""
