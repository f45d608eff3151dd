"""Serves the page: the socket, and the process's end."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, Any

import uvicorn

from redispool.errors import ConfigError
from redispool.watch import Watch
from redispool.web.app import make_app
from redispool.web.board import Board
from redispool.web.document import Documents
from redispool.web.gate import LOOPBACK_NAMES, Gate
from redispool.web.history import SPAN

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from redispool.watch import Place


class Listener:
    """Where the page is to be; nothing listens there until `open`.

    Args:
        host: name or address to listen on.
        port: its number; 0 for any that is free.

    Raises:
        ConfigError: there is no such host.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except (OSError, UnicodeError) as error:
            raise self._refused(error) from None
        self._family, self._address = found[0], str(found[4][0])

    def open(self) -> socket.socket:
        """The socket, which listens; the port is known from now on. Raises ConfigError."""
        try:
            found = socket.create_server((self._address, self.port), family=self._family)
        except OSError as error:
            raise self._refused(error) from None
        self.port = found.getsockname()[1]
        return found

    def _refused(self, error: Exception) -> ConfigError:
        reason = str(getattr(error, "strerror", None) or error).partition(" (while")[0]
        return ConfigError(
            f"cannot listen on {self.host} port {self.port}: {reason}; choose others with --host and --port"
        )

    @property
    def is_loopback(self) -> bool:
        """Whether only this host can reach it."""
        return ipaddress.ip_address(self._address).is_loopback

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"

    def gate(self, token: str | None) -> Gate:
        """What is let in: by the names of loopback, and by the one that was asked for; beyond it, by any address."""
        return Gate(LOOPBACK_NAMES | {self.host.lower()}, not self.is_loopback, token)


def serve(
    place: Place,
    listener: Listener,
    *,
    token: str | None,
    every: float,
    explain: Callable[[Exception], str],
    announce: Callable[[], None],
) -> None:
    """Serve the page, until a signal ends it.

    Args:
        place: where the pools are.
        listener: where the page is to be.
        token: what actions need; None where the page only shows.
        every: seconds from one look at the pools to the next.
        explain: says in a line what an error is about.
        announce: called when the page can be opened.

    Raises:
        ConfigError: it cannot be listened there.
    """
    opened = listener.open()
    announce()
    watch = Watch(place, reach=SPAN)
    facts = {"namespace": place.namespace, "admin": token is not None}
    board = Board(watch, Documents(watch), every, explain, facts)
    config = uvicorn.Config(
        make_app(board, place, listener.gate(token), explain),
        http="h11",
        ws="none",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # nobody is to tell us who asks
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    _Server(config, board).run(sockets=[opened])


class _Server(uvicorn.Server):
    """One whose streams end when it is to end."""

    def __init__(self, config: uvicorn.Config, board: Board) -> None:
        super().__init__(config)
        self._board = board
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> Any:
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._board.close)
