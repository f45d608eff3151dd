"""What a flow may ask of its driver: run a script, block on a mailbox, send one plain command, pause."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from redispool.protocol.scripts import Script

Argument: TypeAlias = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Call:
    """Run a script; the reply is what it returns."""

    script: Script
    key: str
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Plain:
    """Send one command; the reply is the server's."""

    words: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Wait for a mail; the reply is its bytes, or None when the time is up."""

    mailbox: str
    token: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait, because there is nobody to talk to."""

    seconds: float


Command: TypeAlias = Call | Plain | Block | Pause
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
