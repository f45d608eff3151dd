"""Accounts and the libraries of network automation: what each calls an account's parts, and when a session is over.

The dictionaries of keyword arguments hold secrets in the open, for a library to read: pass them on with `**`, and
neither log nor keep them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from redispool.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from redispool.private_key import PrivateKey

_CLOSING = 5.0  # seconds that paramiko's thread has to end; it looks ten times a second whether it should


class Login(Protocol):
    """An account, as far as a login needs it."""

    def get_name(self) -> str:
        """The user name."""

    def get_password(self) -> str:
        """The authentication password."""

    def get_authorization_password(self) -> str:
        """The authorization password."""

    def get_key(self) -> PrivateKey | None:
        """The private key, if any."""


class LoginKeywords:
    """Gives an account's credentials as keyword arguments; no other login than the account's is tried with them."""

    def for_netmiko(self: Login) -> dict[str, Any]:
        """The account for `netmiko.ConnectHandler(host=..., device_type=..., **account.for_netmiko())`.

        `secret`, for `enable()`, is the authorization password.

        Raises:
            ConfigError: it has a key, and the key cannot be loaded (see `PrivateKey.for_paramiko`).
        """
        names = {"username": self.get_name(), "secret": self.get_authorization_password()}
        return {**names, **_password(self), **_pkey(self)}

    def for_paramiko(self: Login) -> dict[str, Any]:
        """The account for `paramiko.SSHClient().connect(host, **account.for_paramiko())`.

        Raises:
            ConfigError: it has a key, and the key cannot be loaded (see `PrivateKey.for_paramiko`).
        """
        only_this = {"allow_agent": False, "look_for_keys": False}
        return {"username": self.get_name(), **only_this, **_password(self), **_pkey(self)}

    def for_asyncssh(self: Login) -> dict[str, Any]:
        """The account for `asyncssh.connect(host, **account.for_asyncssh())`.

        Raises:
            ConfigError: it has a key, and asyncssh is missing or cannot load the key.
        """
        key = self.get_key()
        keys = None if key is None else [_asyncssh_key(key)]
        return {"username": self.get_name(), "agent_path": None, "client_keys": keys, **_password(self)}

    def for_scrapli(self: Login) -> dict[str, Any]:
        """The account for `scrapli.Cli(host, **account.for_scrapli())`.

        The authorization password is what scrapli looks up as 'enable'. A key needs the ssh2 transport
        (`TransportSsh2Options`). With a release before 2026 it is for `scrapli.Scrapli(...)`; a key needs a file then.

        Raises:
            ConfigError: scrapli is missing; or its release takes keys from files only, and the key's is not here.
        """
        try:
            import scrapli  # noqa: PLC0415 - an extra
        except ImportError:
            raise ConfigError("for_scrapli() needs scrapli: pip install 'redispool[scrapli]'") from None
        options = getattr(scrapli, "AuthOptions", None)
        if options is None:
            return _classic_scrapli(self)
        key = self.get_key()
        credentials = {"username": self.get_name(), **_password(self)}
        if key is not None:
            credentials |= {"private_key_content": key.get_text(), "private_key_passphrase": _password_of(key)}
        enable = scrapli.LookupKeyValue("enable", self.get_authorization_password())
        return {"auth_options": options(lookups=[enable], **credentials)}


def hang_up(session: Any, close: Callable[[], Any]) -> None:
    """Close a session of netmiko or paramiko, or of something else, and wait until the device sees that it is closed.

    Paramiko's thread keeps the socket open for a moment, in which the device would refuse the account's next holder.
    """
    client = getattr(session, "remote_conn_pre", session)
    transport = client.get_transport() if hasattr(client, "get_transport") else None
    try:
        close()
    finally:
        if transport is not None:
            transport.join(_CLOSING)


def _password(login: Login) -> dict[str, Any]:
    """The password, unless it is empty and there is a key: trying it would count as a failed login."""
    password = login.get_password()
    return {"password": password} if password or login.get_key() is None else {}


def _pkey(login: Login) -> dict[str, Any]:
    key = login.get_key()
    return {} if key is None else {"pkey": key.for_paramiko()}


def _password_of(key: PrivateKey) -> str | None:
    return key.get_password() or None


def _asyncssh_key(key: PrivateKey) -> Any:
    try:
        import asyncssh  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError("loading a key for asyncssh needs it: pip install 'redispool[asyncssh]'") from None
    text = key.get_text()
    if text is None:
        raise ConfigError("the key has no text; make it with PrivateKey.from_file or from_string")
    try:
        return asyncssh.import_private_key(text, _password_of(key))
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError):
        raise ConfigError(f"asyncssh cannot load this key of type {key.get_type()!r}: check its password") from None


def _classic_scrapli(login: Login) -> dict[str, Any]:
    keywords: dict[str, Any] = {
        "auth_username": login.get_name(),
        "auth_password": login.get_password(),
        "auth_secondary": login.get_authorization_password(),
    }
    key = login.get_key()
    if key is None:
        return keywords
    name = key.get_filename()
    if name is None or not Path(name).is_file():
        raise ConfigError(
            "this release of scrapli takes keys from files only, and the key's file is not on this host; "
            "write its get_text() to a private file, or use scrapli 2026 or later"
        )
    return keywords | {"auth_private_key": name, "auth_private_key_passphrase": key.get_password()}
