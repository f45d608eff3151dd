"""What stands in Redis though redispool did not write it: it is an error that says where, and never a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from redispool.errors import ProtocolMismatch

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def understood(where: str, parse: Callable[..., T], *parts: object) -> T:
    """What the parser makes of the parts.

    Raises:
        ProtocolMismatch: it does not understand them; they are not quoted, for they may hold a secret.
    """
    try:
        return parse(*parts)
    except (ValueError, TypeError, IndexError, ZeroDivisionError, OverflowError, RecursionError):
        pass  # not in its handler, for the cause would quote what it is of
    raise ProtocolMismatch(f"{where} is none that redispool wrote; correct or remove it")
