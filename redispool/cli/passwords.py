"""Passwords are asked for, or read from a file or from standard input; never are they words of a command line."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from redispool.errors import ConfigError

_STDIN = "-"
_MOST = 65536  # characters


def read_password(what: str, file: str | None) -> str:
    """A password: from the file, else asked for twice on a terminal, else what stands on standard input.

    Args:
        what: how to ask for it.
        file: its name, '-' for standard input; one line break at its end is not part of the password.

    Raises:
        ConfigError: the file cannot be read, is empty, or has several lines; or what was typed differs.
    """
    if file is None and sys.stdin.isatty():
        return _asked_for(what)
    if file is None or file == _STDIN:
        return _password("standard input", sys.stdin.read(_MOST + 1))
    try:
        return _password(file, Path(file).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{file}: cannot be read: {reason}") from None


def _asked_for(what: str) -> str:
    password = _password("the terminal", getpass.getpass(f"{what}: "))
    if getpass.getpass("Repeat it: ") != password:
        raise ConfigError("the two differ; nothing has been changed")
    return password


def _password(where: str, text: str) -> str:
    password = text.removesuffix("\n").removesuffix("\r")
    if not password:
        raise ConfigError(f"there is no password on {where}")
    if "\n" in password or len(password) > _MOST:
        raise ConfigError(f"what is on {where} is no password: it has several lines, or over {_MOST} characters")
    return password
