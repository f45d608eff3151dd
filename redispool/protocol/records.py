"""An account, and the bytes that stand for it in Redis.

A record is a line `SESSIONS[<tab>LABEL=VALUE<tab>...]` and a body: JSON, or that JSON sealed. What the
scripts must know stands in front, legible to them whether or not the rest is sealed; 0 sessions means
that the account is never locked.
"""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from redispool.account import Account
from redispool.arguments import MAX_ACCOUNT_NAME, MAX_SESSIONS, check_labels, check_name, check_text, check_whole
from redispool.discretion import discreet
from redispool.errors import ConfigError, ProtocolMismatch, SealError
from redispool.private_key import PrivateKey
from redispool.protocol.requests import choice_of

if TYPE_CHECKING:
    from collections.abc import Mapping

A = TypeVar("A", bound=Account)
_parse = json.JSONDecoder().raw_decode  # what `json.loads` comes to
_REMEMBERED = 512  # records that were read last: a worker gets the few accounts of a pool again and again
_LONGEST_REMEMBERED = 4096  # bytes
_remembered: dict[tuple[str, bytes], dict[str, Any]] = {}
MAX_BODY = 1024 * 1024  # bytes; a password, an authorization password and a key fit


class Seal(Protocol):
    """What turns a body into one that only the holders of the key can read."""

    @property
    def key_ids(self) -> str:
        """Names the keys without telling them, the one that seals first: ' ID ID ...'."""

    def renew(self) -> bool:
        """Ask where the keys come from once more; whether there are others now."""

    def is_current(self, sealed: bytes) -> bool:
        """Whether the key that seals opens it."""

    def close(self, body: bytes, context: str) -> bytes:
        """Seal a body, bound to what it belongs to."""

    def open(self, sealed: bytes, context: str) -> bytes:
        """Open a sealed body. Raises SealError when the key or the context is another."""


@discreet
def encode(account: Account, seal: Seal | None, pool: str) -> bytes:
    """The account's record; sealed, where there is a seal. Raises ConfigError where it is too large."""
    fields: dict[str, Any] = {"password": account.password}
    if account.authorization_password is not None:
        fields["password2"] = account.authorization_password
    if account.key is not None:
        fields["key"] = PrivateKey.of(account.key).fields()
    if account.labels:
        fields["labels"] = account.labels
    if not account.needs_lock:
        fields["max_sessions"] = account.max_sessions
    body = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    if len(body) > MAX_BODY:
        raise ConfigError(f"the record of account {account.name!r} has {len(body)} bytes; {MAX_BODY} are allowed")
    if seal is not None:
        body = seal.close(body, f"{pool}\n{account.name}")
    sessions = account.max_sessions if account.needs_lock else 0
    return f"{sessions}{choice_of(account.labels)}\n".encode() + body


def decode(name: str, record: bytes, seal: Seal | None, pool: str, kind: type[A]) -> A:
    """The account of that name that the record describes.

    Raises:
        SealError: the record is sealed, and there is no key, or another one.
        ProtocolMismatch: the record is none of ours.
    """
    account = kind.__new__(kind)
    known = _remembered.get((name, record)) if len(record) <= _LONGEST_REMEMBERED else None
    if known is not None:
        account.__dict__ = {**known, "labels": {}}
        return account
    state = _read(name, record, seal, pool)
    if state is not None:
        _remember(name, record, state)
    del record  # a traceback may show what is in a function
    if state is None:
        raise ProtocolMismatch(f"the record of account {name!r} in pool {pool!r} is none that redispool wrote")
    account.__dict__ = state
    return account


def _remember(name: str, record: bytes, state: dict[str, Any]) -> None:
    """Spare the next to read this record the trouble; not if it was sealed, or has what a holder could change."""
    is_plain = record.partition(b"\n")[2].startswith(b"{")
    if is_plain and state["key"] is None and not state["labels"] and len(record) <= _LONGEST_REMEMBERED:
        if len(_remembered) >= _REMEMBERED:
            _remembered.clear()
        _remembered[name, record] = dict(state)


def seal_anew(name: str, record: bytes, seal: Seal | None, pool: str) -> bytes | None:
    """The record, sealed with the first key; None if it is so already. Raises SealError where it does not open."""
    head, _, body = record.partition(b"\n")
    is_plain = body.startswith(b"{")
    if seal is None or (not is_plain and seal.is_current(body)):
        return None
    return head + b"\n" + seal.close(body if is_plain else _open(name, body, seal, pool), f"{pool}\n{name}")


def says_the_same(name: str, old: bytes, new: bytes, seal: Seal, pool: str) -> bool:
    """Whether two records differ by nothing but when they were sealed; not if the old one needs another key."""
    (old_head, _, old_body), (new_head, _, new_body) = old.partition(b"\n"), new.partition(b"\n")
    if old_head != new_head or not seal.is_current(old_body):
        return False
    return hmac.compare_digest(_open(name, old_body, seal, pool), _open(name, new_body, seal, pool))


def _read(name: str, record: bytes, seal: Seal | None, pool: str) -> dict[str, Any] | None:
    """The account's state; None where the record is none of ours: an error raised here would show it to a traceback."""
    head, _, body = record.partition(b"\n")
    if len(body) > 2 * MAX_BODY:
        return None
    if not body.startswith(b"{"):
        body = _open(name, body, seal, pool)
    try:
        limit = int(head.partition(b"\t")[0])
        text = body.decode("utf-8", "surrogatepass")
        fields, end = _parse(text)
        return _state(name, limit, fields) if end == len(text) else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _open(name: str, body: bytes, seal: Seal | None, pool: str) -> bytes:
    if seal is None:
        raise SealError(f"account {name!r} in pool {pool!r} is sealed; give the pool its cipher=, or set REDISPOOL_KEY")
    return seal.open(body, f"{pool}\n{name}")


def _state(name: str, limit: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What `Account` makes of its arguments, without its frame: an account is read at each acquisition."""
    password2, key, labels = fields.get("password2"), fields.get("key"), fields.get("labels")
    most = limit or fields.get("max_sessions", 1)
    return {
        "name": check_name("the name of an account", name, MAX_ACCOUNT_NAME),
        "password": check_text("the password", fields["password"]),
        "authorization_password": None if password2 is None else check_text("the authorization password", password2),
        "key": None if key is None else PrivateKey.from_fields(key),
        "needs_lock": limit > 0,
        "max_sessions": 1 if limit == 1 else check_whole("max_sessions", most, 1, MAX_SESSIONS),
        "labels": {} if labels is None else check_labels(labels),
    }
