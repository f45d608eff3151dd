"""Who holds an account, as others see it: owners and tokens, unique to host, process and request."""

from __future__ import annotations

import itertools
import os
import re
import socket
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from redispool.arguments import MAX_OWNER, check_name

if TYPE_CHECKING:
    from collections.abc import Hashable

_HOST = re.sub(r"[^\w.-]", "-", socket.gethostname())[:64] or "host"
_process = f"{_HOST}:{os.getpid()}"
_counter = itertools.count(1)
_numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_numbers_of_values: dict[Hashable, int] = {}
_numbers_by_id: dict[int, tuple[int, Any]] = {}


def _after_fork() -> None:
    global _process  # noqa: PLW0603
    _process = f"{_HOST}:{os.getpid()}"


os.register_at_fork(after_in_child=_after_fork)


def new_token(prefix: str = "") -> str:
    """A token that nobody else has; it tells the host, the process and, by the `prefix_of` him, the server's user."""
    return f"{prefix}{_process}:{os.urandom(8).hex()}"


def caller_name(user: str) -> str:
    """Who does something to a pool, for its audit trail: user of the server, host, process, thread."""
    return prefix_of(user) + owner_name(None)


def prefix_of(user: str) -> str:
    """What tells a user of the server, if it is not the default one."""
    return "" if user in {"", "default"} else re.sub(r"[^\w.@-]", "-", user)[:64] + "@"


def owner_name(owner: Any) -> str:
    """The name of an owner: a string is used as it is, any other object is unique to this process.

    Args:
        owner: the owner as the caller gave it; None for the calling thread.
    """
    if owner is None:
        return f"{_process}:{threading.get_native_id()}"
    if isinstance(owner, str):
        return check_name("the owner", owner, MAX_OWNER)
    return f"{_process}:{type(owner).__name__}-{_number(owner)}"


def _number(owner: Any) -> int:
    """A number for the object; equal objects have the same one, as in the heritage."""
    number = next(_counter)
    try:
        hash(owner)
    except TypeError:
        # it is known by its id, which another object would get if this one were let go
        return _numbers_by_id.setdefault(id(owner), (number, owner))[0]
    try:
        return _numbers.setdefault(owner, number)
    except TypeError:  # it takes no weak reference
        return _numbers_of_values.setdefault(owner, number)
