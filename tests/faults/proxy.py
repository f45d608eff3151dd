"""A proxy between client and server that loses what it is told to lose."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.servers import Server


@dataclass
class Link:
    """One connection through the proxy."""

    client: socket.socket
    server: socket.socket
    losing: threading.Event = field(default_factory=threading.Event)  # the next reply is to be lost

    def close(self) -> None:
        for one in (self.client, self.server):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it is closed already, which is all we want


class Proxy:
    """Carries bytes between any number of clients and one server.

    Attributes:
        delay: seconds that every reply takes longer.
        black_hole: swallow whatever comes, in both directions, and say nothing.
        down: close every new connection at once.
        lost: how many replies were lost so far.
    """

    def __init__(self, server: Server) -> None:
        self.delay = 0.0
        self.black_hole = False
        self.down = False
        self.lost = 0
        self._cut_when_lost = False
        self._request: bytes | None = None
        self._target = ("127.0.0.1", server.port)
        self._links: list[Link] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """With a timeout as short as redispool takes, so that the tests need not wait for long."""
        return f"redis://127.0.0.1:{self.port}/0?socket_timeout=1"

    def lose_reply(self, request: str, *, cut: bool) -> None:
        """Let the server execute the next request that contains this, and lose its reply; `cut`: and the connection."""
        self._cut_when_lost = cut
        self._request = request.encode()

    def cut(self) -> None:
        """Close all connections."""
        for link in list(self._links):
            link.close()

    def outage(self, seconds: float) -> None:
        """Be down for a while."""
        self.down = True
        self.cut()
        time.sleep(seconds)
        self.down = False

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            if self.down:
                client.close()
                continue
            try:
                link = Link(client, socket.create_connection(self._target))
            except OSError:
                client.close()
                continue
            self._links.append(link)
            threading.Thread(target=self._carry, args=(link, link.client, link.server), daemon=True).start()
            threading.Thread(target=self._carry, args=(link, link.server, link.client), daemon=True).start()

    def _carry(self, link: Link, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if self.black_hole:
                    continue
                if source is link.client:
                    self._note(link, data)
                elif link.losing.is_set():
                    link.losing.clear()
                    self.lost += 1
                    if self._cut_when_lost:
                        break
                    continue
                else:
                    time.sleep(self.delay)
                target.sendall(data)
        except OSError:
            pass
        finally:
            link.close()
            if source is link.client:
                self._links.remove(link)

    def _note(self, link: Link, data: bytes) -> None:
        if self._request is not None and self._request in data:
            self._request = None
            link.losing.set()
