"""One connection to the server, spoken to as directly as can be."""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING, Any

import redis
from redis.connection import DefaultParser
from redis.exceptions import InvalidResponse

try:
    from hiredis import Reader, pack_command
except ImportError:  # it is an extra
    Reader = pack_command = None  # type: ignore[assignment,misc,unused-ignore]

if TYPE_CHECKING:
    from redis.connection import AbstractConnection

    from redispool.protocol.commands import Argument

_CHUNK = 65536  # bytes
_MOST_WORDS = 10  # of a command whose beginning is kept: who wants nothing special sends no more
_MOST_HEADS = 1024  # there is one for each owner
_heads: dict[tuple[Argument, ...], str] = {}
_PATIENCE = 5.0  # seconds without an answer after which a connection is given up, if it has no such limit itself
_NOT_YET = object()  # that a reply has not come whole


def packed(words: tuple[Argument, ...]) -> bytes:
    """A command as the server reads it.

    A script is called time and again with the same words but for the last, a token. Those before it are packed once, as
    even hiredis takes twice as long for all.
    """
    if words[0] != "EVALSHA" or len(words) > _MOST_WORDS:
        return _packed_anew(words)
    head, last = _heads.get(words[:-1]) or _new_head(words[:-1]), words[-1]
    if head == "" or type(last) is not str or not last.isascii():
        return _packed_anew(words)
    return f"{head}${len(last)}\r\n{last}\r\n".encode()


def _packed_anew(words: tuple[Argument, ...]) -> bytes:
    if pack_command is not None:  # redis-py would take three times as long
        command: bytes = pack_command(words)  # type: ignore[arg-type]  # it takes any number of them
        return command
    encoded = [word if isinstance(word, bytes) else word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded])


def _new_head(words: tuple[Argument, ...]) -> str:
    """The beginning of a command, for one more word; '' where there are not texts alone: what is secret is in bytes."""
    if any(type(word) is not str for word in words):
        return ""
    if len(_heads) >= _MOST_HEADS:
        _heads.clear()
    head = f"*{len(words) + 1}\r\n" + _packed_anew(words).partition(b"\r\n")[2].decode()
    return _heads.setdefault(words, head)


class Link:
    """An open connection of redis-py's, spoken to in its own words."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection

    def send(self, *commands: tuple[Argument, ...]) -> None:
        """Send commands in one go."""
        self._connection.send_packed_command([b"".join(map(packed, commands))], check_health=False)

    def receive(self) -> Any:
        """The next reply, in bytes. Raises it where it is an error."""
        return self._connection.read_response(disable_decoding=True)

    def is_readable(self, seconds: float) -> bool:
        """Whether something comes within so many seconds: a reply, or the end of the connection."""
        try:
            return self._connection.can_read(timeout=seconds)
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            return True

    def close(self) -> None:
        """Hang up; what was asked last may have no reply yet, which must not be taken for another's."""
        self._connection.disconnect()


class DirectLink(Link):
    """The same without redis-py in between, whose layers take as long as the server does: socket, and hiredis."""

    def __init__(self, connection: AbstractConnection, sock: socket.socket) -> None:
        super().__init__(connection)
        self._socket = sock
        self._patience = sock.gettimeout() or _PATIENCE
        sock.setblocking(False)  # else Python would poll before each call, also where there is room to send
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        reader = Reader(protocolError=InvalidResponse, replyError=DefaultParser.parse_error, notEnoughData=_NOT_YET)
        self._feed, self._next_reply, self._has_data = reader.feed, reader.gets, reader.has_data
        self._is_ready = False  # it was found to be readable, and not yet read

    def send(self, *commands: tuple[Argument, ...]) -> None:
        """Send commands in one go."""
        data = b"".join(map(packed, commands))
        try:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            if sent < len(data):
                self._socket.settimeout(self._patience)
                self._socket.sendall(data[sent:])
                self._socket.setblocking(False)
        except OSError as error:
            raise _translated(error, "writing to") from None

    def receive(self) -> Any:
        """The next reply, in bytes. Raises it where it is an error."""
        reply = self._next_reply(False)
        while reply is _NOT_YET:
            if not self._is_ready and not self._poll.poll(self._patience * 1000):
                raise redis.TimeoutError("Timeout reading from socket")
            self._is_ready = False
            try:
                data = self._socket.recv(_CHUNK)
            except OSError as error:
                raise _translated(error, "reading from") from None
            if not data:
                raise redis.ConnectionError("Connection closed by server.")
            self._feed(data)
            reply = self._next_reply(False)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def is_readable(self, seconds: float) -> bool:
        """Whether something comes within so many seconds: a reply, or the end of the connection."""
        if self._has_data():
            return True
        self._is_ready = bool(self._poll.poll(seconds * 1000))
        return self._is_ready


def _translated(error: OSError, doing: str) -> redis.RedisError:
    """The error of a socket as redis-py would have told it."""
    if isinstance(error, TimeoutError):
        return redis.TimeoutError(f"Timeout {doing} socket")
    return redis.ConnectionError(f"Error while {doing} socket: {error}")


def open_link(connection: AbstractConnection) -> Link:
    """Open the connection; a link over it, the fastest that can be had.

    What encrypts, is no socket, or is of a class that speaks in its own way, is left to redis-py.
    """
    connection.connect()
    sock = getattr(connection, "_sock", None)  # no public name gives it; without it, redis-py does it all
    if type(sock) is not socket.socket or Reader is None or not hasattr(select, "poll"):
        return Link(connection)
    spoken = [getattr(type(connection), name) for name in ("send_packed_command", "read_response", "can_read")]
    is_plain = all(method.__module__.startswith("redis.") for method in spoken)
    return DirectLink(connection, sock) if is_plain else Link(connection)
