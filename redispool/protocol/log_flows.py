"""What the jobs of a logger log: one stream a logger, each of its entries complete in itself.

An entry's fields are `event` (one of EVENTS), `job`, `name`, `attempt`, `run`, `n`, and, where the event has them,
`text` and `reason`. A run is one attempt at a job: two jobs that happen to have the same id (on two hosts, say) are
told apart by it. `n` is `WRITER:NUMBER`; an entry that was sent twice has the same one, and is read once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redispool.errors import ProtocolMismatch
from redispool.protocol import scripts
from redispool.protocol.commands import Call, Flow, Plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redispool.protocol.channel import Channel

EVENTS = frozenset({"started", "message", "aborted", "succeeded"})
MAX_TEXT = 64 * 1024  # characters of one entry
_MAX_BYTES = 4 * MAX_TEXT
_PAGE = 200
_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)
_FROM_START = "-"


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a logger's stream is kept: at least so many of its last entries, none older than so many seconds."""

    entries: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at one job."""

    token: str
    job: str
    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the stream."""

    event: str
    run: Run
    writer: str
    number: int
    text: str = ""
    reason: str = ""
    position: tuple[int, int] = (0, 0)  # in the stream; given by the server

    def words(self) -> Iterator[str | bytes]:
        """Its fields and their values, as the stream has them."""
        run = self.run
        yield from ("event", self.event, "job", run.job, "name", run.name)
        yield from ("attempt", str(run.attempt), "run", run.token)
        yield from ("n", f"{self.writer}:{self.number}")
        for field, value in (("text", self.text), ("reason", self.reason)):
            if value:
                yield from (field, value.encode("utf-8", "surrogatepass"))


class LogFlows:
    """The flows of one logger's stream.

    Args:
        channel: over which the server is asked.
        key: the stream's.
    """

    def __init__(self, channel: Channel, key: str) -> None:
        self._channel = channel
        self._key = key

    def append(self, entry: Entry, retention: Retention) -> Flow[None]:
        """Write an entry; sending it twice is harmless."""
        limits = (str(retention.entries), str(int(retention.seconds * 1000)))
        yield from self._channel.send(Call(scripts.LOG, self._key, (*limits, *entry.words())))

    def read(self, after: tuple[int, int] | None) -> Flow[tuple[tuple[int, int] | None, list[Entry]]]:
        """The position of the oldest entry that is kept (None: there is none), and the entries after a position."""
        found: list[Entry] = []
        start = _FROM_START if after is None else f"({_id(after)}"
        while True:
            _, page = yield from self._channel.send(Plain(("XRANGE", self._key, start, "+", "COUNT", str(_PAGE))))
            found += [self._entry(*raw) for raw in page]
            if len(page) < _PAGE:
                break
            start = f"({_id(found[-1].position)}"
        # last of all, so that nothing that was found is taken for gone
        _, oldest = yield from self._channel.send(Plain(("XRANGE", self._key, "-", "+", "COUNT", "1")))
        return self._entry(*oldest[0]).position if oldest else None, found

    def last_run(self, job: str) -> Flow[Run | None]:
        """The latest run of a job, or None if the stream knows of none."""
        end = "+"
        while True:
            _, page = yield from self._channel.send(Plain(("XREVRANGE", self._key, end, "-", "COUNT", str(_PAGE))))
            entries = [self._entry(*raw) for raw in page]
            found = next((entry.run for entry in entries if entry.run.job == job), None)
            if found is not None or len(page) < _PAGE:
                return found
            end = f"({_id(entries[-1].position)}"

    def _entry(self, position: Any, raw: Any) -> Entry:
        # a cluster's client makes a mapping of the fields
        fields = dict(raw) if isinstance(raw, Mapping) else dict(zip(raw[::2], raw[1::2], strict=True))
        try:
            return _parse(bytes(position).decode(), fields)
        except (KeyError, ValueError):
            where = bytes(position).decode(errors="replace")
        raise ProtocolMismatch(
            f"entry {where} of stream {self._key!r} is none that redispool wrote; use another logger_id or namespace"
        )


def _id(position: tuple[int, int]) -> str:
    return f"{position[0]}-{position[1]}"


def _parse(position: str, fields: dict[bytes, bytes]) -> Entry:
    """The entry that the fields describe. Raises KeyError or ValueError where they describe none."""
    text = {name: _text(fields[name.encode()]) for name in ("event", "job", "name", "attempt", "run", "n")}
    writer, _, number = text["n"].rpartition(":")
    if text["event"] not in EVENTS or not (text["job"] and text["run"] and writer):
        raise ValueError(position)
    milliseconds, _, sequence = position.partition("-")
    return Entry(
        text["event"],
        Run(text["run"], text["job"], text["name"], _whole(text["attempt"])),
        writer,
        _whole(number),
        _text(fields.get(b"text", b"")),
        _text(fields.get(b"reason", b"")),
        (int(milliseconds), int(sequence)),
    )


def _text(value: bytes) -> str:
    if len(value) > _MAX_BYTES:
        raise ValueError(len(value))
    return value.decode("utf-8", "surrogatepass")


def _whole(digits: str) -> int:
    if not _NUMBER.fullmatch(digits):
        raise ValueError(len(digits))
    return int(digits)
