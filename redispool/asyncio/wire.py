"""What carries flows to the server in one event loop."""

from __future__ import annotations

import asyncio
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

from redispool.asyncio.connect import private_client
from redispool.asyncio.line import Line
from redispool.asyncio.mailbox import Mailbox
from redispool.identity import new_token
from redispool.protocol.commands import Block, Call, Command, Elsewhere, Pause, Plain

if TYPE_CHECKING:
    from redispool.asyncio.connect import Client
    from redispool.protocol.flows import LeaseFlows

SHARED = "shared:"  # what the name of a mailbox at which many wait begins with
_KEEPER_TIMEOUT = 1.0  # seconds; one server that hangs must not make the keeper late for the others


class Wire:
    """Carries a flow's commands over a line, for callers that await.

    Args:
        line: the line.
    """

    mailbox: Mailbox

    def __init__(self, line: Line) -> None:
        self._line = line

    async def perform(self, command: Command) -> Any:
        """Carry out one command; its reply. Raises Unavailable in an outage."""
        match command:
            case Call():
                return await self._call(command)
            case Block():
                return await self.mailbox.wait(command)
            case Plain():
                return await self._line.ask(*command.words)
            case Pause():
                return await asyncio.sleep(command.seconds)
            case Elsewhere():
                return await command.home.run(command.flow)

    async def _call(self, call: Call) -> Any:
        wanted = call.replication
        try:
            return await self._line.ask("EVALSHA", call.script.sha, "1", call.key, *call.arguments, wanted=wanted)
        except NoScriptError:  # the server is new, was restarted, or was told to forget
            return await self._line.ask("EVAL", call.script.text, "1", call.key, *call.arguments, wanted=wanted)


class Wires:
    """The connections of a pool in one event loop, at most three: for commands, the mailbox and the keeper.

    Args:
        client: the user's.
        flows: the pool's; None for a manager, which waits for nothing.
    """

    def __init__(self, client: Client, flows: LeaseFlows | None = None) -> None:
        self._client = client
        self._flows = flows
        self._lines: list[Line] = []
        self.opening = asyncio.Lock()

    def _line(self, **overrides: Any) -> Line:
        self._lines.append(Line(private_client(self._client, **overrides)))
        return self._lines[-1]

    @cached_property
    def commands(self) -> Wire:
        """Carries what the tasks ask."""
        wire = Wire(self._line())
        if self._flows is not None:
            box = f"{SHARED}{new_token()}"
            key = self._flows.channel.keys.mailbox(box)
            wire.mailbox = Mailbox(box, key, self._line(), self._flows, wire)
        return wire

    @cached_property
    def keeper(self) -> Wire:
        """Carries what the keeper asks, past the crowd."""
        return Wire(self._line(socket_timeout=_KEEPER_TIMEOUT))

    async def aclose(self) -> None:
        """Close the connections; the next command opens them again."""
        for line in self._lines:
            await line.aclose()

    def close_soon(self) -> None:
        """Close the connections; for who cannot await."""
        for line in self._lines:
            line.hang_up_soon()


class WiresByLoop:
    """The connections of a pool in each event loop of this process."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.flows: LeaseFlows | None = None  # the pool's; a manager has none
        self._wires: dict[tuple[int, asyncio.AbstractEventLoop], Wires] = {}

    def here(self) -> Wires:
        """Those of the running loop."""
        # those of a parent process are kept and never touched: what they close would be closed for the parent
        key = os.getpid(), asyncio.get_running_loop()
        wires = self._wires.get(key)
        if wires is None:
            for other in [other for other in self._wires if other[0] == key[0] and other[1].is_closed()]:
                del self._wires[other]
            wires = self._wires[key] = Wires(self._client, self.flows)
        return wires

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        wires = self._wires.pop((os.getpid(), asyncio.get_running_loop()), None)
        if wires is not None:
            await wires.aclose()

    def close_soon(self) -> None:
        """Close the connections of every loop; for who cannot await, such as a finalizer."""
        for (pid, loop), wires in list(self._wires.items()):
            if pid == os.getpid() and not loop.is_closed():
                loop.call_soon_threadsafe(wires.close_soon)
