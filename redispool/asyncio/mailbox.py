"""The mailbox at which all tasks of one event loop wait for accounts of one pool."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING

from redispool.drivers import arun

if TYPE_CHECKING:
    from redispool.asyncio.line import Line
    from redispool.drivers import AsyncWire
    from redispool.protocol.commands import Block
    from redispool.protocol.flows import LeaseFlows

log = logging.getLogger("redispool")

_PAUSE = 0.1  # seconds between two tries to read, when there is nobody to talk to
_MAIL_KEPT = 60.0  # seconds; mail may be here before the task that it is for knows that it waits


class Mailbox:
    """Blocks on the one list, wakes the task that each mail names, and attends to the pool in the name of all.

    Those who wait send nothing more. All are woken to ask again when something may have gone by: the connection broke
    (and a mail with it), the server took the mailbox for dead, or the pool is empty.

    Args:
        box: the mailbox's name.
        key: the list.
        line: blocks on it, and serves nothing else.
        flows: the pool's.
        wire: carries them.
    """

    def __init__(self, box: str, key: str, line: Line, flows: LeaseFlows, wire: AsyncWire) -> None:
        self.box = box
        self._key = key
        self._line = line
        self._flows = flows
        self._wire = wire
        self._waiting: dict[str, asyncio.Future[bytes | None]] = {}
        self._early: dict[str, tuple[float, bytes]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._attending: asyncio.Task[None] | None = None
        self._attended_at = -math.inf
        self._due = math.inf
        self._sooner = asyncio.Event()

    async def wait(self, block: Block) -> bytes | None:
        """The mail for the token, or None when it is time to ask again."""
        if block.token in self._early:
            return self._early.pop(block.token)[1]
        loop = asyncio.get_running_loop()
        mail: asyncio.Future[bytes | None] = loop.create_future()
        timer = loop.call_later(block.longest, _resolve, mail, None)
        self._waiting[block.token] = mail
        self._attend_by(time.monotonic() + block.seconds)
        try:
            return await mail
        finally:
            timer.cancel()
            self._waiting.pop(block.token, None)

    def _attend_by(self, due: float) -> None:
        now = time.monotonic()
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="redispool-mailbox")
        if self._attending is None:
            self._attended_at, self._due = now, due  # who comes first has just asked for himself
            self._attending = asyncio.create_task(self._attend(), name="redispool-attendance")
        elif due < self._due:
            self._due = due
            self._sooner.set()

    def _wake_all(self) -> None:
        for mail in self._waiting.values():
            _resolve(mail, None)

    async def _read(self) -> None:
        try:
            reply = None
            while self._waiting or reply is not None:  # nothing is left in the list
                try:
                    reply = await self._line.ask("BLPOP", self._key, str(self._flows.slice_seconds))
                except Exception as error:  # noqa: BLE001 - those who wait find out, each by his own patience
                    reply = None
                    log.debug("the mailbox of a pool could not be read: %s", error)
                    self._wake_all()
                    # until its slice ends, the server may still pop a mail for the broken connection
                    asyncio.get_running_loop().call_later(self._flows.slice_seconds, self._wake_all)
                    await asyncio.sleep(_PAUSE)
                else:
                    if reply is not None:
                        self._deliver(reply[1])
        finally:
            self._reading = None

    def _deliver(self, mail: bytes) -> None:
        now = time.monotonic()
        token = mail.split(b"\n", 2)[1].decode()
        waiting = self._waiting.get(token)
        if waiting is None:
            self._early[token] = (now, mail)
        else:
            _resolve(waiting, mail)
        for early, (since, _) in list(self._early.items()):
            if now - since < _MAIL_KEPT:
                break
            del self._early[early]

    async def _attend(self) -> None:
        try:
            while self._waiting:
                self._sooner.clear()
                try:
                    async with asyncio.timeout(max(self._due - time.monotonic(), 0)):
                        await self._sooner.wait()
                except TimeoutError:
                    await self._attend_once()
        finally:
            self._attending = None

    async def _attend_once(self) -> None:
        try:
            well, self._attended_at, seconds = await arun(self._flows.attend(self.box, self._attended_at), self._wire)
        except Exception as error:  # noqa: BLE001 - those who wait find out, each by his own patience
            log.debug("a pool could not be attended to: %s", error)
            well, seconds = False, self._flows.slice_seconds
        self._due = time.monotonic() + seconds
        if not well:
            self._wake_all()


def _resolve(mail: asyncio.Future[bytes | None], content: bytes | None) -> None:
    if not mail.done():
        mail.set_result(content)
