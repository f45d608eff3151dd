"""What goes over a pipe: JSON documents in frames of bounded size; never a pickle.

A request is `{"id": NUMBER, "do": NAME, ...}`, its reply `{"id": NUMBER, "result": ...}` or
`{"id": NUMBER, "error": NAME, "text": ...}`; replies come in any order. Whatever an account was granted
for is named by the id of the request.
"""

from __future__ import annotations

import json
from typing import Any

import redis

from redispool import errors
from redispool.errors import ConfigError, RedispoolError

MAX_FRAME = 1024 * 1024  # bytes
_ERRORS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        errors.AccountExists, errors.AcquireTimeout, errors.ConfigError, errors.LeaseLost, errors.NotHeld,
        errors.PoolEmpty, errors.ProtocolMismatch, errors.RedispoolError, errors.ReplicationError, errors.SealError,
        errors.UnknownAccount,
    )
} | {"redis.ConnectionError": redis.ConnectionError, "redis.TimeoutError": redis.TimeoutError}  # fmt: skip
_NAMES = {kind: name for name, kind in _ERRORS.items()}


def encode(message: dict[str, Any]) -> bytes:
    """The frame of a message. Raises ConfigError where it is too large."""
    frame = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    if len(frame) > MAX_FRAME:
        raise ConfigError(f"a message of {len(frame)} bytes is too large for the pipe; {MAX_FRAME} are allowed")
    return frame


def decode(frame: bytes) -> dict[str, Any]:
    """The message in a frame. Raises ConfigError where there is none."""
    try:
        message = json.loads(frame.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise ConfigError("what came over the pipe is no message of redispool: a JSON object is needed")
    return message


def field(message: dict[str, Any], name: str, *kinds: type) -> Any:
    """A field of a message, which must be of one of these types."""
    value = message.get(name)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ConfigError(f"{name!r} of a message on the pipe must be {' or '.join(kind.__name__ for kind in kinds)}")
    return value


def error_fields(error: BaseException) -> dict[str, str]:
    """An error as a reply tells it: what is none of ours is named only, for its text may hold anything."""
    for kind in type(error).__mro__:
        if kind in _NAMES:
            return {"error": _NAMES[kind], "text": str(error)}
    return {"error": "RedispoolError", "text": f"{type(error).__name__} in the process that serves the pipe"}


def error_from(reply: dict[str, Any]) -> Exception:
    """The error that a reply tells of."""
    kind = _ERRORS.get(str(reply.get("error")), RedispoolError)
    return kind(str(reply.get("text", "")))
