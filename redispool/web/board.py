"""One reader of Redis for however many browsers look; it rests while none does."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from redispool.watch import Watch
    from redispool.web.document import Documents

_MOST_READERS = 64
_RETRY = 1000  # milliseconds until a browser that lost the connection tries again
_BEHIND = 32  # messages that a browser may be behind, before it has to begin anew


class Full(Exception):  # noqa: N818 - told to who asks, and not an error of the library
    """There are as many readers as there may be."""


class Board:
    """Looks again and again, and tells all who read.

    Args:
        watch: what looks.
        documents: what makes messages of it.
        every: seconds from one look to the next.
        explain: says in a line why a look failed.
        facts: what every reader is told first.
    """

    def __init__(
        self,
        watch: Watch,
        documents: Documents,
        every: float,
        explain: Callable[[Exception], str],
        facts: dict[str, Any],
    ) -> None:
        self._watch = watch
        self._documents = documents
        self._every = every
        self._explain = explain
        self._facts = facts
        self._readers: set[asyncio.Queue[str | None]] = set()
        self._newcomers: set[asyncio.Queue[str | None]] = set()
        self._wanted = asyncio.Event()  # a look, at once
        self._closed = False

    async def run(self) -> None:
        """Look and tell, until cancelled."""
        while True:
            if not self._readers and not self._newcomers:
                await self._wanted.wait()
            self._wanted.clear()
            newcomers, self._newcomers = self._newcomers, set()
            whole, news = await asyncio.to_thread(self._look, bool(newcomers))
            for reader in list(self._readers):
                self._tell(reader, news)
            for reader in newcomers:
                self._tell(reader, whole)
            self._readers |= newcomers
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), self._every)

    def look_soon(self) -> None:
        """Look without waiting for the time to come."""
        self._wanted.set()

    def close(self) -> None:
        """Let all who read go; nobody is let in any more."""
        self._closed = True
        for reader in self._readers | self._newcomers:
            self._end(reader)

    def messages(self) -> AsyncIterator[str]:
        """All that there is to tell, then what is new, as events of a stream. Raises Full."""
        if self._closed or len(self._readers) + len(self._newcomers) >= _MOST_READERS:
            raise Full
        reader: asyncio.Queue[str | None] = asyncio.Queue(_BEHIND)
        self._newcomers.add(reader)
        self.look_soon()
        return self._read(reader)

    async def _read(self, reader: asyncio.Queue[str | None]) -> AsyncIterator[str]:
        try:
            while (message := await reader.get()) is not None:
                yield message
        finally:
            self._newcomers.discard(reader)
            self._readers.discard(reader)

    def _tell(self, reader: asyncio.Queue[str | None], message: str) -> None:
        if reader.full():  # it lags, or was never read; it gets all anew when it comes back
            self._readers.discard(reader)
            self._end(reader)
        else:
            reader.put_nowait(message)

    def _end(self, reader: asyncio.Queue[str | None]) -> None:
        while not reader.empty():
            reader.get_nowait()
        reader.put_nowait(None)

    def _look(self, whole_too: bool) -> tuple[str, str]:
        try:
            self._documents.look()
            trouble = self._watch.trouble
        except Exception as error:  # noqa: BLE001 - who looks is told it, and the next look may succeed
            trouble = error
        facts = {"trouble": None if trouble is None else self._explain(trouble)}
        whole = {**self._facts, **facts, **self._documents.whole()} if whole_too else {}
        news = {**facts, **self._documents.news()}
        return f"retry: {_RETRY}\n{_event('whole', whole)}", _event("news", news)


def _event(name: str, document: dict[str, Any]) -> str:
    # ASCII, so that nothing in it can be taken for the end of a line
    return f"event: {name}\ndata: {json.dumps(document, separators=(',', ':'))}\n\n"
