"""What `redispool doctor` finds: each finding says how bad it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import redis

from redispool.errors import RedispoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: `found` says what is, `advice` what to do about it, where something is to be done."""

    check: str
    level: Level
    found: str
    advice: str = ""


def findings_of(check: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of a check; that it could not look is one as well."""
    try:
        yield from look()
    except redis.exceptions.NoPermissionError as error:
        yield Finding(check, "warn", f"this user may not look: {error}", "Ask somebody who may.")
    except (redis.ResponseError, RedispoolError) as error:
        yield Finding(check, "fail", str(error))
