"""One connection to the server for any number of tasks."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import redis
import redis.asyncio as async_redis
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ResponseError

from redispool.drivers import as_sent, confirmation, translated, unanswered, unconfirmed
from redispool.link import packed
from redispool.protocol.commands import Unavailable

if TYPE_CHECKING:
    from redis.asyncio.cluster import ClusterNode
    from redis.asyncio.connection import AbstractConnection

    from redispool.asyncio.connect import Client
    from redispool.protocol.commands import Argument, Replication

_LARGEST_BATCH = 200  # commands; more would keep the first of them waiting


@dataclass(frozen=True, slots=True)
class Question:
    """A command, the future of its reply, and what replicas must have confirmed before."""

    words: tuple[Argument, ...]
    reply: asyncio.Future[Any]
    wanted: Replication | None


class Line:
    """Sends what tasks ask, in batches and in order, over one connection that only its own task uses.

    A task that is cancelled while it waits takes no heed of the reply, so the connection is never left in the middle
    of one; and what it asks next is sent after the reply has come. When the event loop ends, the line hangs up.

    Args:
        client: a client of our own, of this event loop.
    """

    def __init__(self, client: Client) -> None:
        self._caller = ClusterCaller(client) if isinstance(client, async_redis.RedisCluster) else Caller(client)
        self._questions: deque[Question] = deque()
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stays = True  # on the line while nobody asks anything

    async def ask(self, *words: Argument, wanted: Replication | None = None) -> Any:
        """Send a command; its reply as bytes. Raises Unavailable in an outage, or where replicas do not confirm."""
        question = Question(words, asyncio.get_running_loop().create_future(), wanted)
        self._questions.append(question)
        self._asked.set()
        if self._task is None:
            self._start()
        return await question.reply

    def _start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="redispool-line")

    async def aclose(self) -> None:
        """Hang up."""
        self.hang_up_soon()
        if self._task is not None:
            await asyncio.wait([self._task])

    def hang_up_soon(self) -> None:
        """Hang up; for who cannot await."""
        if self._task is not None:
            self._task.cancel()

    async def _work(self) -> None:
        task = asyncio.current_task()
        try:
            # Python 3.11's wait_for, which redis-py uses, may swallow a cancellation
            while (self._stays and not (task and task.cancelling())) or self._questions:
                await self._asked.wait()
                batch = self._next_batch()
                if batch:
                    await self._converse(batch)
        except asyncio.CancelledError:
            pass
        finally:
            self._stays = False  # the loop ends; who cleans up then may still ask
            try:
                await self._caller.hang_up()
            finally:
                self._task = None
                if self._questions:
                    self._start()

    def _next_batch(self) -> list[Question]:
        batch: list[Question] = []
        while self._questions and len(batch) < _LARGEST_BATCH:
            if batch and (batch[0].wanted is None) != (self._questions[0].wanted is None):
                break  # what needs no replica does not wait for any, and may be for another node
            question = self._questions.popleft()
            if not question.reply.cancelled():
                batch.append(question)
        if not self._questions:
            self._asked.clear()
        return batch

    async def _converse(self, batch: list[Question]) -> None:
        try:
            replies = await self._exchange(batch)
        except Exception as error:  # noqa: BLE001 - it is for those who asked
            await self._caller.hang_up()
            replies = [error] * len(batch)
        except BaseException:
            _answer(batch, [redis.ConnectionError("the connection was closed")] * len(batch))
            raise
        else:
            if any(map(_is_outage, replies)):
                await self._caller.hang_up()  # another server may be the right one by now
        _answer(batch, replies)

    async def _exchange(self, batch: list[Question]) -> list[Any]:
        """The replies; replicas confirm all of a batch at once."""
        commands = [question.words for question in batch]
        wanted = batch[0].wanted  # the same for all
        if wanted is None:
            return await self._caller.exchange(commands)
        replies = await self._caller.exchange([*commands, *confirmation(wanted)], wanted.key)
        error = unconfirmed(wanted, replies[len(batch) :])
        return [error if error and not isinstance(reply, Exception) else reply for reply in replies[: len(batch)]]


def _is_outage(reply: Any) -> bool:
    return isinstance(reply, Exception) and isinstance(translated(reply), Unavailable)


def _answer(batch: list[Question], replies: list[Any]) -> None:
    for question, reply in zip(batch, replies, strict=True):
        if question.reply.done():
            continue
        if isinstance(reply, Exception):
            # a copy each: a traceback that all of a crowd raise into would grow with every one
            error = translated(copy.copy(reply))
            if isinstance(error, Unavailable):
                error.cause = copy.copy(error.cause)
            question.reply.set_exception(error)
        else:
            question.reply.set_result(reply)


class Caller:
    """Talks to one server, or to the one that sentinels name."""

    def __init__(self, client: async_redis.Redis) -> None:
        self._pool = client.connection_pool
        self._connection: AbstractConnection | None = None

    async def exchange(self, commands: list[tuple[Argument, ...]], _key: str = "") -> list[Any]:
        """Send commands in one go over one connection; the replies, errors among them."""
        if self._connection is None:
            self._connection = self._pool.make_connection()
        connection = self._connection
        return await _converse(connection, commands)

    async def hang_up(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)
        if isinstance(self._pool, SentinelConnectionPool):
            await self._pool.sentinel_manager.aclose()


async def _converse(connection: AbstractConnection, commands: list[tuple[Argument, ...]]) -> list[Any]:
    await connection.connect()
    try:
        await connection.send_packed_command([b"".join(map(packed, commands))], check_health=False)
        return [await _reply(connection) for _ in commands]
    except Exception as error:  # noqa: BLE001 - raised again, as what it means
        raise unanswered(error) from None


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error


class ClusterCaller:
    """Talks to a cluster."""

    def __init__(self, client: async_redis.RedisCluster) -> None:
        self._client = client

    async def exchange(self, commands: list[tuple[Argument, ...]], key: str = "") -> list[Any]:
        """Send commands in one go, all to the node that has their slot; the replies, errors among them.

        Args:
            commands: the commands.
            key: one of that slot, if all must go over one connection.
        """
        if key:
            return await self._exchange_with_node(commands, key)
        pipeline = self._client.pipeline()
        for words in commands:
            pipeline.execute_command(*words)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return [as_sent(words[0], reply) for words, reply in zip(commands, replies, strict=True)]

    async def _exchange_with_node(self, commands: list[tuple[Argument, ...]], key: str) -> list[Any]:
        await self._client.initialize()
        node = cast("ClusterNode", self._client.get_node_from_key(key))  # of a primary, not a replica
        connection = node.acquire_connection()
        try:
            return await _converse(connection, commands)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            node.release(connection)

    async def hang_up(self) -> None:
        """Close the connections; the next command asks the cluster who serves what."""
        await self._client.aclose()
