"""What a caller may pass: each check names the argument, what is wrong with it, and what is right."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from redispool.errors import ConfigError

MAX_POOL_NAME = 200  # bytes of UTF-8
MAX_ACCOUNT_NAME = 512
MAX_OWNER = 1024
MAX_NOTE = 1024
MIN_TTL = 0.05  # seconds
MAX_SECONDS = 10 * 365 * 86400.0
MAX_PRIORITY = 1000
MAX_SESSIONS = 10_000
MAX_LABELS = 32
MAX_LABEL = 200  # bytes of UTF-8, name and value each


def check_name(what: str, value: Any, limit: int, forbidden: str = "") -> str:
    """A name: a string, not empty, of `limit` bytes at most, with no control character and none of `forbidden`."""
    if not isinstance(value, str):
        raise ConfigError(f"{what} must be a string, not {type(value).__name__}")
    if not value:
        raise ConfigError(f"{what} must not be empty")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ConfigError(f"{what} {value!r} is no valid Unicode (it has a lone surrogate)") from None
    if size > limit:
        raise ConfigError(f"{what} is {size} bytes long; {limit} are allowed")
    if forbidden or not value.isprintable():  # what is printable has no control characters
        bad = [c for c in value if c in forbidden or unicodedata.category(c) == "Cc"]
        if bad:
            raise ConfigError(f"{what} {value!r} must not contain {bad[0]!r}")
    return str.__str__(value)  # a member of an enumeration would be printed by its name


def check_pool_name(value: Any) -> str:
    """The name of a pool, 1 to 200 bytes, with no braces (they delimit the cluster's hash tag)."""
    return check_name("the name of a pool", value, MAX_POOL_NAME, "{}")


def check_namespace(value: Any) -> str:
    """The namespace of all keys, under the same rules as the name of a pool."""
    return check_name("the namespace", value, MAX_POOL_NAME, "{}")


def check_account_name(value: Any) -> str:
    """The name of an account, 1 to 512 bytes."""
    return check_name("the name of an account", value, MAX_ACCOUNT_NAME)


def check_text(what: str, value: Any) -> str:
    """Any string."""
    if not isinstance(value, str):
        raise ConfigError(f"{what} must be a string, not {type(value).__name__}")
    return value


def check_note(what: str, value: Any) -> str:
    """A short text for people, perhaps empty."""
    return "" if value == "" else check_name(what, value, MAX_NOTE)


def check_seconds(what: str, value: Any, *, least: float = 0.0, most: float = MAX_SECONDS) -> float:
    """A time in seconds: a finite number, from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{what} must be a number of seconds, not {type(value).__name__}")
    if not least <= value <= most:  # NaN is not, either
        raise ConfigError(f"{what} must be a time from {least:g} to {most:.0f} seconds, not {value}")
    return float(value)


def check_ttl(value: Any) -> float:
    """The time to live of a lease in seconds, 0.05 or more."""
    return check_seconds("ttl", value, least=MIN_TTL)


def check_whole(what: str, value: Any, least: int, most: int) -> int:
    """A whole number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"{what} must be a whole number from {least} to {most}, not {value!r}")
    return int(value)  # a member of an enumeration would be printed by its name


def check_flag(what: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{what} must be True or False, not {value!r}")
    return value


def check_labels(labels: Any) -> dict[str, str]:
    """Labels of an account: a mapping of names to values."""
    if not isinstance(labels, Mapping):
        raise ConfigError(f"labels must be a mapping of strings to strings, not {type(labels).__name__}")
    if len(labels) > MAX_LABELS:
        raise ConfigError(f"an account has {MAX_LABELS} labels at most, not {len(labels)}")
    checked = {}
    for name, value in labels.items():
        checked[check_name("the name of a label", name, MAX_LABEL, "=")] = check_name(
            f"the value of label {name!r}", value, MAX_LABEL
        )
    return checked
