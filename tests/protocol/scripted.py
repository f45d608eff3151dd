"""A server that says what its script says, and a clock that moves only when a flow waits: flows without Redis."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redispool.protocol.audit import AuditFlows
from redispool.protocol.channel import PoolChannel
from redispool.protocol.commands import Block, Call, Command, Flow, Pause, Plain, Unavailable
from redispool.protocol.flows import LeaseFlows
from redispool.protocol.keys import PoolKeys, log_key
from redispool.protocol.log_flows import LogFlows
from redispool.protocol.membership import MemberFlows
from redispool.protocol.oversight import OversightFlows
from redispool.protocol.places import PlaceFlows
from redispool.protocol.resealing import ResealFlows
from redispool.protocol.routes import RouteFlows

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = PoolKeys("redispool", "lab")
PATIENCE = 30.0
SLICE = 2.0


class Outage(Exception):  # noqa: N818 - it is one
    """What a client library would raise."""


class Clock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def word(command: Command) -> str:
    """A command in a word or two: 'acquire', 'cancel return', 'block', 'pause', 'SADD'."""
    match command:
        case Call():
            grants = f" {command.arguments[4]}" if command.script.name == "cancel" else ""
            return command.script.name + grants
        case Plain():
            return str(command.words[0])
        case Block():
            return "block"
        case Pause():
            return "pause"


@dataclass
class Raises:
    """Throw this into the flow, after so many seconds."""

    error: BaseException
    after: float = 0.0


@dataclass
class Replies:
    """Send this into the flow, after so many seconds."""

    value: Any
    after: float = 0.0


class Stage:
    """What a test needs to play a flow: the flows of one pool, a clock, and what was asked of the server."""

    def __init__(self, *, contacted: bool = False, patience: float = PATIENCE) -> None:
        self.clock = Clock()
        self.channel = PoolChannel(KEYS, patience=patience, clock=self.clock)
        self.channel.contacted = contacted
        self.leases = LeaseFlows(self.channel, slice_seconds=SLICE)
        self.places = PlaceFlows(self.channel, slice_seconds=SLICE)
        self.members = MemberFlows(self.channel)
        self.oversight = OversightFlows(self.channel)
        self.audits = AuditFlows(self.channel)
        self.resealing = ResealFlows(self.channel)
        self.routes = RouteFlows(self.channel, KEYS.namespace)
        self.logs = LogFlows(self.channel, log_key(KEYS.namespace, "jobs"))
        self.commands: list[Command] = []
        self._times: list[float] = []

    @property
    def asked(self) -> list[str]:
        return [word(command) for command in self.commands]

    def began_at(self, index: int) -> float:
        """When the command of that index was asked for."""
        return self._times[index]

    def play(self, flow: Flow[Any], *script: tuple[str, Any]) -> Any:
        """Feed the flow the script's replies, each to the command that it must ask for; what the flow returns.

        A pause takes the time that it asks for, and needs no line in the script; so does a block that gets no mail.
        """
        lines = iter(script)

        def answer(command: Command) -> Any:
            if isinstance(command, Pause):
                return None
            expected, reply = next(lines, ("nothing more", None))
            assert word(command) == expected, f"{command} was asked for instead of {expected!r}"
            return reply

        result = self.feed(flow, answer)
        assert list(lines) == [], "the flow ended before its script"
        return result

    def feed(self, flow: Flow[Any], answer: Callable[[Command], Any]) -> Any:
        """Feed the flow what `answer(command)` returns; `Raises` is thrown into it."""
        resume, value = flow.send, None
        while True:
            try:
                command = resume(value)
            except StopIteration as stop:
                return stop.value
            self.commands.append(command)
            self._times.append(self.clock())
            reply = answer(command)
            if not isinstance(reply, Raises | Replies):
                reply = (
                    Raises(reply) if isinstance(reply, BaseException) else Replies(reply, self._takes(command, reply))
                )
            self.clock.now += reply.after
            resume, value = (flow.throw, reply.error) if isinstance(reply, Raises) else (flow.send, reply.value)

    @staticmethod
    def _takes(command: Command, reply: Any) -> float:
        return command.seconds if isinstance(command, Pause | Block) and reply is None else 0.0


def outage(after: float = 0.0) -> Raises:
    """The server cannot be reached."""
    return Raises(Unavailable(Outage("no route to host")), after)


def mail(token: str = "t", seat: str = "a1", *, expires: int = 1_060_000, fence: int = 7) -> bytes:
    """A grant as it lies in a mailbox; times in ms by the server's clock."""
    return f'granted\n{token}\n{seat}\n{fence}\n1000000\n{expires}\n1\n{{"password":"x"}}'.encode()


def granted(server_now: int = 1_000_000, **grant: Any) -> list[Any]:
    return [b"granted", server_now, mail(**grant)]


def waiting(*, stamp: bytes = b"17", rank: int = 0, next_end: int = -1, server_now: int = 1_000_000) -> list[Any]:
    return [b"waiting", stamp, rank, next_end, server_now]


@dataclass(frozen=True)
class Case:
    """A flow, and what the server says in the course of it."""

    name: str
    flow: str
    start: Callable[[Stage], Flow[Any]]
    script: list[tuple[str, Any]] = field(default_factory=list)
    result: Any = None
    impatient: tuple[int, ...] = ()  # the yields at which it does not ride out an outage
    patience: float = PATIENCE  # how long it does at the others, at least

    def play(self, stage: Stage, *script: tuple[str, Any]) -> Any:
        return stage.play(self.start(stage), *(script or self.script))
