"""How a flow talks to the server: it rides out outages, and makes sure that both sides speak the same protocol."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from redispool.errors import ProtocolMismatch, SealError, UnknownAccount
from redispool.protocol import scripts
from redispool.protocol.chance import chance
from redispool.protocol.commands import (
    Argument,
    Call,
    Flow,
    Pause,
    Plain,
    Replication,
    Unanswered,
    Unavailable,
    Unreplicated,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from redispool.protocol.keys import PoolKeys
    from redispool.protocol.records import Seal

_FIRST_DELAY = 0.01  # seconds
_LONGEST_DELAY = 1.0
_REFUSALS = (b"mismatch", b"wrongtype", b"garbage")  # what shared/settings.lua returns in place of a script


class Channel:
    """Sends commands again until an outage is over.

    Args:
        patience: seconds to ride out an outage where the caller gave no deadline.
        clock: a monotonic clock.
    """

    def __init__(self, *, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.patience = patience
        self.clock = clock
        self.contacted = False  # the first contact with a server that cannot be reached raises at once
        self.unanswered = 0  # commands of which nobody knows whether they were executed

    def send(
        self, command: Call | Plain, deadline: float | None = None, patience: float | None = None
    ) -> Flow[tuple[float, Any]]:
        """When it was asked, and the reply; rides out an outage until the deadline, or as long as patience lasts."""
        asked = self.clock()
        try:
            reply = yield command
        except Unavailable as outage:
            asked, reply = yield from self._ride_out(command, outage, asked, deadline, patience)
        self.contacted = True
        return asked, reply

    def _ride_out(
        self, command: Call | Plain, outage: Unavailable, asked: float, deadline: float | None, patience: float | None
    ) -> Flow[tuple[float, Any]]:
        """Ask again what was asked then and met an outage, until it is over; when it was asked, and the reply."""
        if deadline is None:
            deadline = asked + (self.patience if patience is None else patience)
        delay = _FIRST_DELAY
        while True:
            self.unanswered += 1
            self.contacted = self.contacted or isinstance(outage, Unanswered | Unreplicated)
            now = self.clock()
            if not self.contacted or now >= deadline:
                raise outage.cause from None
            yield Pause(min(delay * chance.uniform(0.5, 1.0), max(deadline - now, 0.001)))  # jitter
            delay = min(delay * 2, _LONGEST_DELAY)
            asked = self.clock()
            try:
                return asked, (yield command)
            except Unavailable as error:
                outage = error.with_traceback(None)  # that holds this frame, and what called it: dropped handles too


class PoolChannel(Channel):
    """Runs the scripts of one pool.

    Args:
        keys: the pool's keys.
        patience: seconds to ride out an outage where the caller gave no deadline.
        seal: what seals the pool's records, if anything.
        caller: tells the audit trail who administers the pool.
        clock: a monotonic clock.
        min_replicas: how many replicas must have what an account is given by.
    """

    def __init__(
        self,
        keys: PoolKeys,
        *,
        patience: float,
        seal: Seal | None = None,
        caller: Callable[[], str] = str,
        clock: Callable[[], float] = time.monotonic,
        min_replicas: int = 0,
    ) -> None:
        super().__init__(patience=patience, clock=clock)
        self.keys = keys
        self.replication = Replication(keys.replicated, min_replicas) if min_replicas else None
        self.seal = seal
        self.caller = caller
        self._meta = keys.meta
        self._checked = False  # that the keys are of the right types, by a script that went through

    @property
    def key_ids(self) -> str:
        """Names the keys that we have, the one that seals first; '' for none."""
        return "" if self.seal is None else self.seal.key_ids

    def call(
        self,
        script: scripts.Script,
        *arguments: Argument,
        deadline: float | None = None,
        patience: float | None = None,
        durable: bool = False,
        key_ids: str | None = None,
    ) -> Flow[tuple[float, list[Any]]]:
        """Run a script; when it was asked, and what it returned.

        Args:
            script: the script.
            arguments: its own.
            deadline: see `send`.
            patience: see `send`.
            durable: whether the answer is one that a failover must not undo, as it gives or prolongs a lease: so many
                replicas as the pool asks for must have what led to it. Else it is too soon to be told, as in an outage.
            key_ids: the keys that were there when the arguments were sealed; None: nothing was.

        Raises:
            ReplicationError: too few replicas have it until the end of the patience.
            ProtocolMismatch: what stands in Redis was not written by this version; nothing has changed.
        """
        opening = "" if self._checked else "1"
        if self.seal is not None:
            opening += self.seal.key_ids if key_ids is None else key_ids
        if script.name in scripts.ADMINISTRATIVE:
            opening += "\n" + self.caller()
        replication = self.replication if durable else None
        command = Call(script, self._meta, (scripts.PROTOCOL_VERSION, opening, *arguments), replication)
        asked = self.clock()
        try:  # as `send` does, without its frame: that is on the way of each acquisition
            reply = yield command
        except Unavailable as outage:
            asked, reply = yield from self._ride_out(command, outage, asked, deadline, patience)
        self.contacted = True
        if reply and reply[0] in _REFUSALS:
            raise self._refused(*reply)
        self._checked = True
        return asked, reply

    def _refused(self, kind: bytes, *details: bytes) -> ProtocolMismatch:
        said = [part.decode() for part in details]
        if kind == b"mismatch":
            return ProtocolMismatch(
                f"pool {self.keys.pool!r} holds data of protocol version {said[0]}, and this redispool "
                f"speaks version {scripts.PROTOCOL_VERSION}; use the same version of redispool on every host"
            )
        if kind == b"wrongtype":
            return ProtocolMismatch(
                f"key {said[0]!r} should hold a {said[1]}, and holds a {said[2]}: it is none of redispool's; "
                "remove it, or use another namespace or pool name"
            )
        return ProtocolMismatch(
            f"field {said[1]!r} of hash {said[0]!r} is none that redispool wrote; correct or remove it"
        )

    def call_in_full(self, script: scripts.Script, *arguments: Argument, key_ids: str | None = None) -> Flow[list[Any]]:
        """Run a script that may first have to reclaim more than one call may."""
        while True:
            _, reply = yield from self.call(script, *arguments, key_ids=key_ids)
            if reply != [b"again"]:
                return reply

    def call_by_owner(self, script: scripts.Script, *arguments: Argument) -> Flow[list[Any]]:
        """Run a script that must know what each owner has; the first to ask for it in a pool has that listed."""
        while True:
            _, reply = yield from self.call(script, *arguments)
            if reply != [b"unlisted"]:
                return reply
            listed = 0
            while not listed:
                _, (listed,) = yield from self.call(scripts.ENLIST)

    def renew_keys(self, needed: bytes) -> None:
        """Get the keys that the pool is sealed with from where ours came from. Raises SealError if there are none."""
        if self.seal is None:
            raise SealError(f"pool {self.keys.pool!r} is sealed; give it its cipher=, or set REDISPOOL_KEY")
        if not (self._has_keys(needed) or self.seal.renew() or self._has_keys(needed)):
            raise SealError(
                f"pool {self.keys.pool!r} is sealed with the keys of the ids {needed.decode(errors='replace')!r}, and "
                f"the ones given have the ids {self.seal.key_ids.strip()!r}; check cipher= or REDISPOOL_KEY"
            )

    def _has_keys(self, needed: bytes) -> bool:
        """Whether we have them by now, as another thread or task has got them meanwhile."""
        return set(needed.decode(errors="replace").split()) <= set(self.key_ids.split())

    def unknown(self, name: str) -> UnknownAccount:
        """The error that says that the pool has no such account."""
        return UnknownAccount(f"account {name!r} is not in pool {self.keys.pool!r}")
