"""A private key that travels with its account."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redispool.arguments import check_text
from redispool.discretion import discreet
from redispool.errors import ConfigError
from redispool.key_formats import KEY_TYPES, MAX_KEY, NotAKey, check_password, describe, openssh_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paramiko import PKey


class PrivateKey:
    """A private key, as `Exscript.PrivateKey`; its text travels with the account, sealed like a password.

    A file's name means nothing on another host: there, `get_text` gives what the file held when the
    account was added. Copies and pickles made by the user carry the text and the password.

    Args:
        keytype: one of 'rsa', 'dss', 'ecdsa', 'ed25519'.

    Raises:
        ConfigError: the type is unknown.
    """

    def __init__(self, keytype: str = "rsa") -> None:
        if keytype not in KEY_TYPES:
            raise ConfigError(f"unknown type of key {keytype!r}; known are {', '.join(KEY_TYPES)}")
        self._type = keytype
        self._filename: str | None = None
        self._password = ""
        self._text: str | None = None

    @classmethod
    @discreet
    def from_file(cls, filename: str | os.PathLike[str], password: str = "", keytype: str | None = None) -> PrivateKey:
        """The key in a file: PEM or OpenSSH's format; as in the heritage.

        Args:
            filename: the file.
            password: what it is encrypted with; tried at once where the cryptography package is installed.
            keytype: the type; None: what the file says.

        Raises:
            ConfigError: the file cannot be read or holds no private key, the type is another, or the password is wrong.
        """
        name = os.fspath(filename)
        if not isinstance(name, str):
            raise ConfigError(f"the name of a key file must be a string, not {type(name).__name__}")
        return cls._from(_read(name), f"key file {name!r}", name, password, keytype)

    @classmethod
    @discreet
    def from_string(cls, text: str, password: str = "", keytype: str | None = None) -> PrivateKey:
        """The key in a string, which holds what its file would; arguments and errors are those of `from_file`."""
        return cls._from(check_text("the text of a key", text), "the text given", None, password, keytype)

    @classmethod
    def _from(cls, text: str, where: str, filename: str | None, password: str, keytype: str | None) -> PrivateKey:
        check_text("the password of a key", password)
        if keytype is not None:
            cls(keytype)
        try:
            found = describe(text, password)
            check_password(text, found, password)
        except NotAKey as error:
            raise ConfigError(f"{where}: {error}") from None
        if found.keytype is None and keytype is None:
            raise ConfigError(
                f"{where}: its encryption hides its type; give keytype=, or pip install 'redispool[crypto]'"
            )
        if keytype is not None and found.keytype not in {None, keytype}:
            raise ConfigError(f"{where}: it is a key of type {found.keytype!r}, not {keytype!r}")
        return cls.restore(keytype or found.keytype or "", filename, password, text)

    @classmethod
    @discreet
    def restore(cls, keytype: str, filename: str | None, password: str, text: str | None) -> PrivateKey:
        """The key of which these are the parts."""
        key = cls(keytype)
        key._filename = filename
        key._password = check_text("the password of a key", password)
        key._text = text
        return key

    @classmethod
    @discreet
    def of(cls, key: Any) -> PrivateKey:
        """The key itself, or one of redispool with all that a key of Exscript's class has.

        Raises:
            ConfigError: it is neither, or it is not in one file that can be read.
        """
        if isinstance(key, PrivateKey):
            return key
        if not all(callable(getattr(key, name, None)) for name in ("get_type", "get_filename", "get_password")):
            raise ConfigError(f"a key must be a PrivateKey, not {type(key).__name__}")
        if key.get_filename() is None:
            return cls.restore(key.get_type(), None, key.get_password() or "", None)
        return cls.from_file(key.get_filename(), key.get_password() or "", key.get_type())

    def fields(self) -> dict[str, str]:
        """The parts that it has, secrets and all, by name: what records and pipes carry."""
        parts = {
            "type": self._type,
            "filename": self._filename,
            "password": self._password,
            "text": self.get_text(),
        }
        return {name: value for name, value in parts.items() if value}

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> PrivateKey:
        """The key that has these parts."""
        return cls.restore(
            fields.get("type", "rsa"), fields.get("filename"), fields.get("password", ""), fields.get("text")
        )

    def __repr__(self) -> str:
        where = "" if self._filename is None else f" from {self._filename!r}"
        return f"<{type(self).__name__} {self._type}{where}>"

    def _identity(self) -> tuple[str, str, str | None]:
        return self._type, self._password, self._text or self._filename

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, PrivateKey) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

    def get_type(self) -> str:
        """The type of the key: 'rsa', 'dss', 'ecdsa' or 'ed25519'; as in the heritage."""
        return self._type

    def get_filename(self) -> str | None:
        """The file that the key was read from, on the host that read it; as in the heritage."""
        return self._filename

    def set_filename(self, filename: str) -> None:
        """Take the key from another file, which is read when the key is needed; as in the heritage."""
        self._filename = check_text("the name of a key file", filename)
        self._text = None

    def get_password(self) -> str:
        """The password that the key is encrypted with, '' for none; as in the heritage."""
        return self._password

    @discreet
    def set_password(self, password: str) -> None:
        """Name the password that the key is encrypted with; as in the heritage."""
        self._password = check_text("the password of a key", password)

    def get_text(self) -> str | None:
        """The key itself, in the text form that its file has; None for a key that has neither text nor file.

        Raises:
            ConfigError: the file named by `set_filename` cannot be read.
        """
        if self._text is None and self._filename is not None:
            self._text = _read(self._filename)
        return self._text

    @discreet
    def for_paramiko(self) -> PKey:
        """The key as paramiko takes it (`SSHClient.connect(pkey=...)`).

        Raises:
            ConfigError: paramiko is missing or does not know this type, or the key or its password is wrong.
        """
        try:
            import paramiko  # noqa: PLC0415 - an extra
        except ImportError:
            raise ConfigError("loading a key needs paramiko: pip install 'redispool[paramiko]'") from None
        names = {"rsa": "RSAKey", "dss": "DSSKey", "ecdsa": "ECDSAKey", "ed25519": "Ed25519Key"}
        kind: Any = getattr(paramiko, names[self._type], None)
        if kind is None:
            raise ConfigError(f"this release of paramiko knows no keys of type {self._type!r}; use one of another type")
        where = "a key" if self._filename is None else f"key file {self._filename!r}"
        text = self.get_text()
        if text is None:
            raise ConfigError("the key has no text; make it with PrivateKey.from_file or from_string")
        try:
            # paramiko reads fewer formats than cryptography, on which it stands
            loaded: PKey = kind.from_private_key(io.StringIO(openssh_text(text, self._password)))
        except NotAKey as error:
            raise ConfigError(f"{where}: {error}") from None
        except (paramiko.SSHException, ValueError):
            raise ConfigError(f"{where}: paramiko does not accept it as a key of type {self._type!r}") from None
        return loaded


def _read(filename: str) -> str:
    try:
        with Path(filename).open("rb") as file:
            content = file.read(MAX_KEY + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no name of a file"
        raise ConfigError(f"key file {filename!r}: {reason}") from None
    return content.decode("utf-8-sig", "replace")  # a key is ASCII; what is none is told so when it is recognised
