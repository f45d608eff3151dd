"""Sealed records: authenticated encryption before anything leaves the process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from redispool.errors import ConfigError, SealError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

Key: TypeAlias = str | bytes
Keys: TypeAlias = Key | Sequence[Key]
Cipher: TypeAlias = Keys | Callable[[], Keys] | None


class FernetSeal:
    """Seals with the first key, opens with any; pool and account name are sealed in with the body."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._fernet = _fernet(keys)

    def close(self, body: bytes, context: str) -> bytes:
        """Seal a body, bound to what it belongs to."""
        return self._fernet.encrypt(context.encode("utf-8", "surrogatepass") + b"\0" + body)

    def open(self, sealed: bytes, context: str) -> bytes:
        """Open a sealed body. Raises SealError when the key or the context is another."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - an extra

        where = context.replace("\n", "/")
        try:
            content = self._fernet.decrypt(sealed)
        except InvalidToken:
            raise SealError(
                f"the record of {where!r} does not open with the given key; check cipher= or REDISPOOL_KEY"
            ) from None
        found, _, body = content.partition(b"\0")
        if found != context.encode("utf-8", "surrogatepass"):
            raise SealError(f"the record of {where!r} was sealed for another account; somebody moved it")
        return body


def _fernet(keys: Sequence[Key]) -> MultiFernet:
    try:
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError("a cipher needs the cryptography package: pip install 'redispool[crypto]'") from None
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except (ValueError, TypeError):
        raise ConfigError("cipher= takes keys made by cryptography.fernet.Fernet.generate_key()") from None


def seal_from(cipher: Cipher) -> FernetSeal | None:
    """The seal for a pool's `cipher` argument; REDISPOOL_KEY where it is None; None where neither is set.

    Raises:
        ConfigError: the keys are no Fernet keys, or the cryptography package is missing.
    """
    if cipher is None:
        from_environment = [key.strip() for key in os.environ.get("REDISPOOL_KEY", "").split(",") if key.strip()]
        return FernetSeal(from_environment) if from_environment else None
    keys = cipher() if callable(cipher) else cipher
    if not isinstance(keys, str | bytes | Sequence):
        raise ConfigError(f"cipher= takes a key or a list of keys, not {type(keys).__name__}")
    return FernetSeal([keys] if isinstance(keys, str | bytes) else list(keys))
