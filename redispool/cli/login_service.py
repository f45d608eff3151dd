"""A login service that refuses a second login to an account while the first lasts: the demo's outside judge.

It knows nothing of redispool. A client sends `{"account": ..., "password": ...}` as a line of JSON and is
answered `welcome`, `in use` or `wrong password`; a line `logout`, answered `bye`, ends the login, and so does
the end of the connection.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import BufferedRWPair
    from typing import Self

_LOOPBACK = "127.0.0.1"
_PATIENCE = 10.0  # seconds; the service is on this very host
_LONGEST_LINE = 65536


class LoginRefused(Exception):  # noqa: N818 - it is what the service does
    """The service did not let the account in; the text is its answer."""


class LoginService:
    """A TCP server on a loopback port of its own, for use in a `with` block.

    Args:
        passwords: the password of each account.

    Attributes:
        port: where it listens.
        logins: how often each account was let in.
        refusals: how often each account was refused because it was in use.
    """

    def __init__(self, passwords: Mapping[str, str]) -> None:
        self.logins: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self._passwords = dict(passwords)
        self._in_use: set[str] = set()
        self._lock = threading.Lock()
        self._server = _Server((_LOOPBACK, 0), _Connection)
        self._server.service = self
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="login-service", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def in_use(self) -> frozenset[str]:
        """The accounts that are logged in."""
        with self._lock:
            return frozenset(self._in_use)

    def admit(self, account: str, password: str) -> str:
        """Judge an attempt to log in; the answer."""
        with self._lock:
            if account not in self._passwords or self._passwords[account] != password:
                return "wrong password"
            if account in self._in_use:
                self.refusals[account] += 1
                return "in use"
            self._in_use.add(account)
            self.logins[account] += 1
            return "welcome"

    def dismiss(self, account: str) -> None:
        """The account's login has ended."""
        with self._lock:
            self._in_use.discard(account)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    service: LoginService


class _Connection(socketserver.StreamRequestHandler):
    """One connection, and the one login that it may have."""

    server: _Server

    def handle(self) -> None:
        try:
            wanted = json.loads(self.rfile.readline(_LONGEST_LINE))
            account, password = str(wanted["account"]), str(wanted["password"])
        except (OSError, ValueError, KeyError, TypeError):
            return  # who talks nonsense is not talked to
        with suppress(OSError):  # a client that is gone, killed perhaps
            self._serve(account, password)

    def _serve(self, account: str, password: str) -> None:
        answer = self.server.service.admit(account, password)
        try:
            self._answer(answer)
            if answer != "welcome":
                return
            self.rfile.readline(_LONGEST_LINE)  # the logout, or the end of the connection
        finally:
            if answer == "welcome":
                self.server.service.dismiss(account)
        self._answer("bye")

    def _answer(self, text: str) -> None:
        self.wfile.write(f"{text}\n".encode())


@contextmanager
def login(port: int, account: str, password: str) -> Iterator[None]:
    """Be logged in for a `with` block.

    Args:
        port: the service's.
        account: the name of the account.
        password: its password.

    Raises:
        LoginRefused: the service did not let the account in.
    """
    with socket.create_connection((_LOOPBACK, port), timeout=_PATIENCE) as connection:
        stream = connection.makefile("rwb")
        answer = _ask(stream, json.dumps({"account": account, "password": password}))
        if answer != "welcome":
            raise LoginRefused(answer)
        try:
            yield
        finally:
            _ask(stream, "logout")  # its answer is awaited: only then may the next one log in


def _ask(stream: BufferedRWPair, line: str) -> str:
    stream.write(line.encode() + b"\n")
    stream.flush()
    return stream.readline(_LONGEST_LINE).decode().strip()
