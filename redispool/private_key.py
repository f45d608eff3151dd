"""A private key that travels with its account."""

from __future__ import annotations

from redispool.arguments import check_text
from redispool.errors import ConfigError

KEY_TYPES = ("rsa", "dss", "ecdsa", "ed25519")


class PrivateKey:
    """A private key, as in `Exscript.PrivateKey`.

    Args:
        keytype: one of 'rsa', 'dss', 'ecdsa', 'ed25519'.
    """

    def __init__(self, keytype: str = "rsa") -> None:
        if keytype not in KEY_TYPES:
            raise ConfigError(f"unknown type of key {keytype!r}; known are {', '.join(KEY_TYPES)}")
        self._type = keytype
        self._filename: str | None = None
        self._password = ""
        self._text: str | None = None

    @classmethod
    def restore(cls, keytype: str, filename: str | None, password: str, text: str | None) -> PrivateKey:
        """The key of which these are the parts."""
        key = cls(keytype)
        key._filename = filename
        key._password = check_text("the password of a key", password)
        key._text = text
        return key

    def __repr__(self) -> str:
        return f"<PrivateKey {self._type}>"

    def get_type(self) -> str:
        """The type of the key: 'rsa', 'dss', 'ecdsa' or 'ed25519'."""
        return self._type

    def get_filename(self) -> str | None:
        """The file that the key was read from, on the host that read it."""
        return self._filename

    def get_password(self) -> str:
        """The password that the key is encrypted with."""
        return self._password

    def get_text(self) -> str | None:
        """The key itself, in the text form that its file has."""
        return self._text
