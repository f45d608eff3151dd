"""Sealed records: authenticated encryption before anything leaves the process."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from redispool.discretion import discreet
from redispool.errors import ConfigError, SealError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet, MultiFernet

Key: TypeAlias = str | bytes
Keys: TypeAlias = Key | Sequence[Key]
Cipher: TypeAlias = Keys | Callable[[], Keys] | None

_FILE = "file:"
_MAX_FILE = 64 * 1024  # bytes
_ID_DIGITS = 16


@dataclass(frozen=True, slots=True)
class _Ring:
    """Keys, ready for use."""

    first: Fernet
    all: Fernet | MultiFernet
    ids: str
    invalid: type[Exception]  # what they raise at what they cannot open

    def opened(self, sealed: bytes) -> bytes | None:
        """What one of the keys opens; None where none does."""
        try:
            return self.all.decrypt(sealed)
        except self.invalid:
            return None


class FernetSeal:
    """Seals with the first key, opens with any; pool and account name are sealed in with the body.

    Args:
        keys: the keys, newest first.
        source: gives the keys anew, where they come from a file or a callable.
    """

    def __init__(self, keys: Sequence[Key], source: Callable[[], Sequence[Key]] | None = None) -> None:
        self._ring = _ring_of(keys)
        self._source = source

    @property
    def key_ids(self) -> str:
        """Names the keys without telling them, the first first: ' ID ID ...'."""
        return self._ring.ids

    def renew(self) -> bool:
        """Ask where the keys come from once more; whether there are others now."""
        return self._has_other_than(self._ring)

    def _has_other_than(self, ring: _Ring) -> bool:
        """Whether there are other keys than these by now; another thread may have asked for them already."""
        if self._ring is ring and self._source is not None:
            found = _ring_of(self._source())
            if found.ids != self._ring.ids:
                self._ring = found
        return self._ring is not ring

    def close(self, body: bytes, context: str) -> bytes:
        """Seal a body, bound to what it belongs to."""
        return self._ring.first.encrypt(context.encode("utf-8", "surrogatepass") + b"\0" + body)

    def open(self, sealed: bytes, context: str) -> bytes:
        """Open a sealed body, with newer keys if need be. Raises SealError when the key or the context is another."""
        ring = self._ring
        content = ring.opened(sealed)
        if content is None and self._has_other_than(ring):
            content = self._ring.opened(sealed)
        if content is None:
            where = context.replace("\n", "/")
            raise SealError(f"the record of {where!r} does not open with the given key; check cipher= or REDISPOOL_KEY")
        head = context.encode("utf-8", "surrogatepass") + b"\0"
        if not content.startswith(head):
            del content  # a traceback may show what is in a function
            where = context.replace("\n", "/")
            raise SealError(f"the record of {where!r} was sealed for another account; somebody moved it")
        return content[len(head) :]

    def is_current(self, sealed: bytes) -> bool:
        """Whether the first key opens it."""
        try:
            self._ring.first.decrypt(sealed)
        except self._ring.invalid:
            return False
        return True


@discreet
def _ring_of(keys: Sequence[Key]) -> _Ring:
    try:
        from cryptography.fernet import Fernet, InvalidToken, MultiFernet  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError("a cipher needs the cryptography package: pip install 'redispool[crypto]'") from None
    try:
        fernets = [Fernet(key) for key in keys]
        several = MultiFernet(fernets) if len(fernets) > 1 else fernets[0]
        return _Ring(fernets[0], several, "".join(f" {_id_of(key)}" for key in keys), InvalidToken)
    except (ValueError, TypeError, IndexError):
        pass  # not in its handler, for the cause might quote a key
    raise ConfigError("cipher= takes keys made by cryptography.fernet.Fernet.generate_key(), one at least")


def _id_of(key: Key) -> str:
    """Tells keys apart; a key is random, so nobody finds it by its id."""
    return hmac.new(base64.urlsafe_b64decode(key), b"redispool key id", hashlib.sha256).hexdigest()[:_ID_DIGITS]


@discreet
def seal_from(cipher: Cipher) -> FernetSeal | None:
    """The seal for a pool's `cipher` argument; what the environment says where it is None; None where that is silent.

    A file (`file:PATH`: a key a line, newest first, `#` begins a comment) and a callable are asked when the pool is
    opened, and again whenever the pool turns out to be sealed with a key that they had not given: so keys change
    without a restart.

    Args:
        cipher: a key, keys, newest first, `file:PATH`, or a callable that returns a key or keys. None: the keys in
            REDISPOOL_KEY, separated by commas, or in the file that REDISPOOL_KEY_FILE names.

    Raises:
        ConfigError: the keys are no Fernet keys, there is no such file, or the cryptography package is missing.
    """
    if cipher is None:
        cipher = _from_environment()
    if cipher is None:
        return None
    if isinstance(cipher, str) and cipher.startswith(_FILE):
        path = Path(cipher.removeprefix(_FILE))
        return FernetSeal(_read(path), lambda: _read(path))
    if callable(cipher):
        ask = cipher
        return FernetSeal(_as_keys(ask()), lambda: _as_keys(ask()))
    return FernetSeal(_as_keys(cipher))


def _from_environment() -> Keys | None:
    given = {name: os.environ[name].strip() for name in ("REDISPOOL_KEY", "REDISPOOL_KEY_FILE") if name in os.environ}
    for name, value in given.items():
        if not value.replace(
            ",", ""
        ).strip():  # of a secret that was not found, perhaps: nothing must be written unsealed then
            raise ConfigError(f"{name} is set, and empty; give it a value, or unset it for a pool that is not sealed")
    if len(given) > 1:
        raise ConfigError("REDISPOOL_KEY and REDISPOOL_KEY_FILE are both set; unset one")
    if "REDISPOOL_KEY_FILE" in given:
        return _FILE + given["REDISPOOL_KEY_FILE"]
    return [key for key in map(str.strip, given.get("REDISPOOL_KEY", "").split(",")) if key] or None


@discreet
def _as_keys(keys: object) -> Sequence[Key]:
    if isinstance(keys, str | bytes):
        return [keys]
    if not isinstance(keys, Sequence):
        raise ConfigError(f"cipher= takes a key or a list of keys, not {type(keys).__name__}")
    return list(keys)


def _is_key(text: str) -> bool:
    try:
        return bool(_ring_of([text]))
    except ConfigError:
        return False


@discreet
def _read(path: Path) -> Sequence[Key]:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:
        if _is_key(str(path)):
            raise ConfigError("the name of a key file was expected, and a key is given; see REDISPOOL_KEY") from None
        raise ConfigError(
            f"key file {str(path)!r}: {getattr(error, 'strerror', None) or 'no name of a file'}"
        ) from None
    if len(content) > _MAX_FILE:
        raise ConfigError(f"key file {str(path)!r} is over {_MAX_FILE} bytes long; it has a key a line")
    lines = [line.partition(b"#")[0].strip() for line in content.splitlines()]
    return [line for line in lines if line]
