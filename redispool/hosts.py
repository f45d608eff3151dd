"""What a routing rule needs to know of a host, whatever kind of object the caller has for it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from redispool.errors import ConfigError


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """A host's name, and its address where one is known without asking the DNS."""

    name: str
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None


def identify(host: Any) -> HostIdentity:
    """The name and the address of a host.

    The name is the string itself, or the first text that `get_name()`, `name`, `hostname` and `get_address()` give.
    The address is the first of `get_address()`, `hostname` and the name that is an IP address; no name is ever
    looked up.

    Args:
        host: a string, or an object with any of these.

    Raises:
        ConfigError: it has none of them.
    """
    if isinstance(host, str):
        name, addresses = host, [host]
    else:
        by_address, by_hostname = _ask(host, "get_address"), _text(host, "hostname")
        name = _ask(host, "get_name") or _text(host, "name") or by_hostname or by_address
        addresses = [by_address, by_hostname, name]
    if not name:
        raise ConfigError(
            "a host is a string that is not empty, or an object with get_name(), get_address(), name or hostname, "
            f"not {host if isinstance(host, str) else type(host).__name__!r}"
        )
    known = [address for address in map(_address, addresses) if address is not None]
    return HostIdentity(name, known[0] if known else None)


def own_account(host: Any) -> Any:
    """The account that a host brings along (`get_account()`), or None.

    Raises:
        ConfigError: what it brings is no account.
    """
    get_account = getattr(host, "get_account", None)
    account = get_account() if callable(get_account) else None
    if account is not None and not (callable(getattr(account, "acquire", None)) and _ask(account, "get_name")):
        raise ConfigError(f"get_account() of a host must give an Account or None, not {type(account).__name__}")
    return account


def _ask(thing: Any, method: str) -> str:
    getter = getattr(thing, method, None)
    value = getter() if callable(getter) else None
    return value if isinstance(value, str) else ""


def _text(thing: Any, attribute: str) -> str:
    value = getattr(thing, attribute, None)
    return value if isinstance(value, str) else ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
