"""Who holds an account, as others see it: owners and tokens, unique to host, process and request."""

from __future__ import annotations

import itertools
import os
import re
import secrets
import socket
import threading
from collections.abc import Hashable
from typing import Any
from weakref import WeakKeyDictionary

from redispool.arguments import MAX_OWNER, check_name

_HOST = re.sub(r"[^\w.-]", "-", socket.gethostname())[:64] or "host"
_counter = itertools.count(1)
_numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_numbers_of_values: dict[Hashable, int] = {}


def new_token() -> str:
    """A token that nobody else has; it tells the host and the process."""
    return f"{_HOST}:{os.getpid()}:{secrets.token_hex(8)}"


def owner_name(owner: Any) -> str:
    """The name of an owner: a string is used as it is, any other object is unique to this process.

    Args:
        owner: the owner as the caller gave it; None for the calling thread.
    """
    if owner is None:
        return f"{_HOST}:{os.getpid()}:{threading.get_native_id()}"
    if isinstance(owner, str):
        return check_name("the owner", owner, MAX_OWNER)
    return f"{_HOST}:{os.getpid()}:{type(owner).__name__}-{_number(owner)}"


def _number(owner: Any) -> int:
    """A number for the object; equal objects have the same one, as in the heritage."""
    try:
        return _numbers.setdefault(owner, next(_counter))
    except TypeError:  # it takes no weak reference, or has no hash
        key = owner if isinstance(owner, Hashable) else id(owner)
        return _numbers_of_values.setdefault(key, next(_counter))
