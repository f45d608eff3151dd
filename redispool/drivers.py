"""Runs a flow on a client: with `redispool.link`, the only place that talks to Redis."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import redis
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    TryAgainError,
)

from redispool.errors import ProtocolMismatch, ReplicationError
from redispool.link import Link, open_link
from redispool.protocol.commands import (
    Block,
    Call,
    Command,
    Elsewhere,
    Flow,
    Plain,
    Replication,
    Unanswered,
    Unavailable,
    Unreplicated,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from redis.connection import AbstractConnection

    from redispool.protocol.commands import Argument

T = TypeVar("T")

_FRESH = 1.0  # seconds for which an idle connection is taken to be still there
_REFUSED = (AuthenticationError, AuthorizationError)
_OUTAGE = (
    redis.ConnectionError, redis.TimeoutError, BusyLoadingError, ReadOnlyError, ClusterDownError, ClusterError,
    RedisClusterException, AskError, TryAgainError, MasterDownError, OutOfMemoryError, OSError,
)  # fmt: skip
_OUTAGE_REPLIES = ("UNBLOCKED", "LOADING", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "NOREPLICAS", "BUSY ")
_NOT_A_NUMBER = ("is not an integer", "not a valid float", "would overflow")
_REPLICATION = 500  # ms to wait for replicas at a time: less than any connection's patience
_MOVING = "access a non local key"  # a cluster is moving the slot; see lua/shared/settings.lua


def translated(error: Exception) -> Exception:
    """A client library's error as the flows know it: an outage, foreign data, or itself.

    It comes without the frames of the client library, whose locals a traceback might show: passwords and commands.
    """
    if isinstance(error, redis.RedisError | OSError):
        error.__cause__ = error.__context__ = error.__traceback__ = None
    if isinstance(error, _OUTAGE) and not isinstance(error, _REFUSED):
        return Unavailable(error)
    if isinstance(error, ResponseError):
        text = str(error)
        if text.startswith(_OUTAGE_REPLIES) or _MOVING in text:
            return Unavailable(error)
        if "WRONGTYPE" in text:
            return ProtocolMismatch(
                "a key where redispool keeps its data holds something else; remove it, or use another namespace "
                f"or pool name ({text})"
            )
        # Lua's own errors, and those of a command that counts
        if text.startswith("user_script:") or any(words in text for words in _NOT_A_NUMBER):
            return ProtocolMismatch(f"a script found data that redispool did not write ({text})")
    return error


def unanswered(error: Exception) -> Exception:
    """What went wrong once a command was on its way, as `translated`."""
    better = translated(error)
    return Unanswered(better.cause) if type(better) is Unavailable else better


def confirmation(wanted: Replication) -> list[tuple[Argument, ...]]:
    """What is sent behind a script, on its connection, to have replicas confirm all that led to its reply.

    WAIT counts only what its own connection has written, and a script need not have written anything.
    """
    return [("SET", wanted.key, "", "PX", "60000"), ("WAIT", str(wanted.replicas), str(_REPLICATION))]


def unconfirmed(wanted: Replication, replies: list[Any]) -> Exception | None:
    """What went wrong, by the replies to a `confirmation`; None if the replicas have confirmed."""
    for reply in replies:
        if isinstance(reply, Exception):
            return Unreplicated(reply)  # the script has run nevertheless
    count = int(replies[-1])
    if count >= wanted.replicas:
        return None
    return Unreplicated(
        ReplicationError(
            f"{count} of the {wanted.replicas} replicas that min_replicas asks for have confirmed in time; nothing was "
            "taken, and it is safe to ask again"
        )
    )


def as_sent(command: Argument, reply: Any) -> Any:
    """A cluster's reply as the server sent it: redis-py makes something else of some, and cannot be told not to."""
    if isinstance(reply, Exception):
        return reply
    if command == "HSCAN":
        cursor, fields = reply
        return [str(cursor).encode(), _in_a_row(fields)]
    if command in {"XRANGE", "XREVRANGE"}:
        return [[entry, _in_a_row(fields)] for entry, fields in reply]
    return reply


def _in_a_row(fields: dict[bytes, bytes]) -> list[bytes]:
    return [part for field in fields.items() for part in field]


class Wire:
    """What carries a flow's commands to the server, for callers that block.

    Args:
        client: a client of our own (`redispool.connect.private_client`), or a cluster's.
    """

    def __init__(self, client: redis.Redis | redis.RedisCluster) -> None:
        self.client = client
        # asked once, as it takes its time: the bases of redis-py's class are protocols
        self._cluster = client if isinstance(client, redis.RedisCluster) else None
        self._idle: list[tuple[Link, float]] = []  # and since when
        self._pid = os.getpid()
        self._nodes: dict[str, Wire] = {}  # of a cluster, by name, for what must be sent over one connection

    def perform(self, command: Command) -> Any:
        """Carry out one command; its reply. Raises Unavailable in an outage."""
        if isinstance(command, Elsewhere):
            return command.home.run(command.flow)
        try:
            if isinstance(command, Call):
                return self._run_script(command)
            if isinstance(command, Block):
                reply = self.send("BLPOP", command.mailbox, str(command.seconds), blocks=command.seconds)
                return None if reply is None else reply[1]
            if isinstance(command, Plain):
                return self.send(*command.words)
            return time.sleep(command.seconds)
        except Exception as error:
            better = translated(error)
            if better is error:
                raise
            raise better from None

    def _run_script(self, call: Call) -> Any:
        send = self.send if call.replication is None else partial(self._confirmed, call.replication)
        try:
            return send("EVALSHA", call.script.sha, "1", call.key, *call.arguments)
        except NoScriptError:  # the server is new, was restarted, or was told to forget
            return send("EVAL", call.script.text, "1", call.key, *call.arguments)

    def _confirmed(self, wanted: Replication, *words: Argument) -> Any:
        """Send a script, and have replicas confirm it; its reply."""
        if self._cluster is not None:
            return self._ask_node(self._cluster, wanted, words)
        reply, *confirming = self._converse([words, *confirmation(wanted)])
        error = reply if isinstance(reply, Exception) else unconfirmed(wanted, confirming)
        if isinstance(error, Unreplicated):
            with suppress(IndexError):  # another server may be the right one by now
                self._idle.pop()[0].close()
        if error is not None:
            raise error
        return reply

    def _ask_node(self, cluster: redis.RedisCluster, wanted: Replication, words: tuple[Argument, ...]) -> Any:
        node = cluster.get_node_from_key(wanted.key)
        if node.name not in self._nodes:
            self._nodes[node.name] = Wire(cluster.get_redis_connection(node))
        try:
            return self._nodes[node.name]._confirmed(wanted, *words)  # noqa: SLF001 - it is one of us
        except Exception as error:
            if isinstance(translated(error), Unavailable) and not isinstance(error, Unreplicated):
                cluster.nodes_manager.initialize()  # another node may be the right one by now
            raise

    def _converse(self, commands: list[tuple[Argument, ...]]) -> list[Any]:
        """Send commands in one go over one connection; their replies, errors among them."""
        link = self._link()
        try:
            link.send(*commands)
            replies = [_reply(link) for _ in commands]
        except BaseException as error:
            link.close()
            if isinstance(error, Exception):
                raise unanswered(error) from None
            raise
        if any(isinstance(reply, Exception) and isinstance(translated(reply), Unavailable) for reply in replies):
            link.close()
        else:
            self._idle.append((link, time.monotonic()))
        return replies

    def send(self, *words: Argument, blocks: float = 0.0) -> Any:
        """Send a command and read its reply as bytes, whatever the client would make of it.

        Args:
            words: the command.
            blocks: seconds after which the server is to answer at the latest, for a command that blocks there.
        """
        if self._cluster is not None:
            return as_sent(words[0], self._cluster.execute_command(*words, NEVER_DECODE=True))
        link = self._link()
        try:
            link.send(words)
            if blocks and not link.is_readable(blocks + 0.001):
                # an idle server looks ten times a second only whose time is up, but at once when asked
                self.send("PING")
            reply = link.receive()
        except ResponseError as error:
            if isinstance(translated(error), Unavailable):
                link.close()  # another server may be the right one by now
            else:
                self._idle.append((link, time.monotonic()))
            raise
        except BaseException as error:
            link.close()
            if isinstance(error, Exception):
                raise unanswered(error) from None
            raise
        self._idle.append((link, time.monotonic()))
        return reply

    def _link(self) -> Link:
        """An idle link, or a new one; redis-py's own pool would take ten times as long."""
        if self._pid != os.getpid():
            self._idle, self._pid = [], os.getpid()  # after a fork, they are the parent's
        try:
            link, since = self._idle.pop()
        except IndexError:
            return self._new_link()
        if time.monotonic() - since > _FRESH and link.is_readable(0):  # hung up, or said something unasked
            link.close()
            return self._new_link()
        return link

    def _new_link(self) -> Link:
        pool = cast("redis.Redis", self.client).connection_pool
        return open_link(cast("AbstractConnection", pool.make_connection()))


def _reply(link: Link) -> Any:
    try:
        return link.receive()
    except ResponseError as error:
        return error


class Interrupted(Exception):  # noqa: N818 - nobody but who interrupts gets it
    """The flow was called off by another thread."""


_stop: ContextVar[threading.Event | None] = ContextVar("stop", default=None)


@contextmanager
def interruptible(stop: threading.Event) -> Iterator[None]:
    """Within the block, and in its thread, a flow is called off at its next command once `stop` is set.

    Raises:
        Interrupted: it was.
    """
    before = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(before)


def run(flow: Flow[T], wire: Wire) -> T:
    """Feed a flow until it returns. Whatever is raised here, Ctrl-C too, is thrown into it so that it can clean up."""
    resume, value = flow.send, None
    called_off = _stop.get()
    while True:
        try:
            command = resume(value)
            if called_off is not None and called_off.is_set():
                called_off = None  # what follows is the flow's clean-up
                raise Interrupted  # noqa: TRY301 - thrown into the flow, as what goes wrong at a command is
            resume, value = flow.send, wire.perform(command)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except BaseException as error:
            if flow.gi_frame is None:  # type: ignore[attr-defined]  # it is the flow's own last word
                raise
            resume, value = flow.throw, error


class AsyncWire(Protocol):
    """What carries a flow's commands to the server, for callers that await."""

    async def perform(self, command: Command) -> Any:
        """Carry out one command; its reply. Raises Unavailable in an outage."""


async def arun(flow: Flow[T], wire: AsyncWire) -> T:
    """Like `run`, for callers that await. Once its task was cancelled, a flow cleans up behind a shield."""
    perform = wire.perform
    resume, value = flow.send, None
    while True:
        try:
            command = resume(value)
            resume, value = flow.send, await perform(command)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except BaseException as error:
            if flow.gi_frame is None:  # type: ignore[attr-defined]  # it is the flow's own last word
                raise
            if not isinstance(error, Exception):
                perform = partial(shielded, wire)
            resume, value = flow.throw, error


async def shielded(wire: AsyncWire, command: Command) -> Any:
    """Carry out a command to its end, however often the task is cancelled meanwhile."""
    while True:
        performing = asyncio.ensure_future(wire.perform(command))
        while not performing.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([performing])
        if not performing.cancelled():  # else the loop is ending, and cancels every task once: send it anew
            return performing.result()
