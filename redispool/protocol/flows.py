"""What a client does, step by step: generators that yield commands and are sent the replies.

A driver feeds them (`redispool.drivers`); whether it blocks or awaits is no concern of theirs. What
goes wrong at a command is thrown into the flow at that point: `Unavailable` where the server cannot
be reached, which the flows ride out; anything else (Ctrl-C, cancellation) makes them clean up first.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from redispool.errors import (
    AccountExists,
    AcquireTimeout,
    LeaseLost,
    PoolEmpty,
    ProtocolMismatch,
    RedispoolError,
    UnknownAccount,
)
from redispool.protocol import scripts
from redispool.protocol.commands import Argument, Block, Call, Flow, Pause, Plain, Unavailable
from redispool.protocol.keys import PoolKeys, pools_key

log = logging.getLogger("redispool")

FIRST_FEW = 5  # so many waiters wake exactly when the next lease ends; the others at the end of their slice
AGING = 60.0  # seconds of waiting that weigh as much as one step of priority
_ADD_CHUNK = 500
_REMOVE_CHUNK = 100  # each removal walks the list of members
_LOOKUP_CHUNK = 500
_PAGE = 1000
_RENEW_CHUNK = 300
_PATIENCE_TO_CANCEL = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller wants, under a token that makes it safe to ask twice."""

    token: str
    box: str
    owner: str
    ttl: float  # seconds
    account: str = ""  # the one wanted; '' for the next in turn
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """What the server gave."""

    token: str  # '' where the account is never locked
    seat: str
    fence: int
    acquired_at: float  # seconds since 1970, the server's clock
    expires_at: float
    valid_until: float  # our own monotonic clock; never later than the server's end of the lease
    record: bytes

    @property
    def account(self) -> str:
        """The name of the account that the seat belongs to."""
        return self.seat.partition("\t")[0]


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A lease as the server knows it."""

    token: str
    seat: str
    owner: str
    fence: int
    acquired_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Figures:
    """A pool's figures at one instant; `at` by the server's clock."""

    at: float
    accounts: int
    free: int
    cooling: int
    waiting: int
    leases: tuple[LeaseRow, ...]


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, never fewer than were asked for."""
    return -int(-seconds * 1000 // 1)


class PoolFlows:
    """The flows of one pool.

    Args:
        keys: the pool's keys.
        patience: seconds to ride out an outage where the caller gave no deadline.
        slice_seconds: how long one BLPOP may take.
        clock: a monotonic clock.
    """

    def __init__(
        self, keys: PoolKeys, *, patience: float, slice_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.keys = keys
        self.patience = patience
        self.slice_seconds = slice_seconds
        self.clock = clock
        self._contacted = False
        self._registered = False

    # -- talking to the server -----------------------------------------------------------------------------------

    def _send(
        self, command: Call | Plain, deadline: float | None = None, patience: float | None = None
    ) -> Flow[tuple[float, Any]]:
        """When it was asked, and the reply; rides out an outage until the deadline, or as long as patience lasts."""
        delay = 0.01
        while True:
            asked = self.clock()
            try:
                reply = yield command
            except Unavailable as outage:
                now = self.clock()
                if deadline is None:
                    deadline = asked + (self.patience if patience is None else patience)
                if not self._contacted or now >= deadline:
                    raise outage.cause from None
                yield Pause(min(delay * random.uniform(0.5, 1.0), max(deadline - now, 0.001)))  # noqa: S311
                delay = min(delay * 2, 1.0)
            else:
                self._contacted = True
                return asked, reply

    def _call(
        self, script: scripts.Script, *arguments: Argument, deadline: float | None = None, patience: float | None = None
    ) -> Flow[tuple[float, list[Any]]]:
        """Run a script; when it was asked, and what it returned."""
        check = "" if self._contacted else "1"
        call = Call(script, self.keys.meta, (scripts.PROTOCOL_VERSION, check, *arguments))
        asked, reply = yield from self._send(call, deadline, patience)
        if reply and reply[0] == b"mismatch":
            raise ProtocolMismatch(
                f"pool {self.keys.pool!r} holds data of protocol version {reply[1].decode()}, and this redispool speaks "
                f"version {scripts.PROTOCOL_VERSION}; use the same version of redispool on every host"
            )
        if reply and reply[0] == b"wrongtype":
            key, wanted, found = (part.decode() for part in reply[1:4])
            raise ProtocolMismatch(
                f"key {key!r} should hold a {wanted}, and holds a {found}: it is none of redispool's; "
                "remove it, or use another namespace or pool name"
            )
        return asked, reply

    def _call_in_full(self, script: scripts.Script, *arguments: Argument) -> Flow[list[Any]]:
        """Run a script that may first have to reclaim more than one call may."""
        while True:
            _, reply = yield from self._call(script, *arguments)
            if reply != [b"again"]:
                return reply

    # -- acquire, release, renew ---------------------------------------------------------------------------------

    def acquire(self, request: Request, timeout: float | None) -> Flow[Grant]:
        """Take an account, waiting in line for it.

        Args:
            request: what is wanted.
            timeout: seconds to wait; 0 does not wait, None waits for ever.

        Raises:
            AcquireTimeout, PoolEmpty, UnknownAccount: nothing was taken.
        """
        try:
            return (yield from self._acquire(request, timeout))
        except (GeneratorExit, RedispoolError):
            raise  # nobody feeds us any more; or: the server has answered, and the token holds nothing
        except BaseException:
            yield from self._abandon(request)
            raise

    def _acquire(self, request: Request, timeout: float | None) -> Flow[Grant]:
        deadline = None if timeout is None else self.clock() + timeout
        wait = timeout is None or timeout > 0
        stamp = b""
        while True:
            # a request that does not wait still needs its one answer
            asked, reply = yield from self._call(
                scripts.ACQUIRE, request.token, request.box, request.owner, milliseconds(request.ttl), request.account,
                int(wait), milliseconds(3 * self.slice_seconds), int(request.priority * AGING * 1_000_000), stamp,
                deadline=deadline if wait else None,
            )  # fmt: skip
            kind = reply[0]
            if kind == b"granted":
                return _grant(reply[1], asked, reply[2])
            if kind == b"busy":
                if reply[1]:
                    continue
                raise self._timed_out(request, timeout)
            if kind != b"waiting":
                raise self._in_vain(kind, request)
            stamp, rank, next_end, server_now = reply[1:5]
            remaining = None if deadline is None else deadline - self.clock()
            if remaining is not None and remaining <= 0:
                return (yield from self._last_chance(request, timeout))
            mail = yield from self._block(request, self._slice(request, rank, next_end, remaining))
            if mail is not None:
                kind, _, _ = mail.partition(b"\n")
                if kind != b"granted":
                    raise self._in_vain(kind, request)
                return _grant(mail, asked, server_now)

    def _slice(self, request: Request, rank: int | None, next_end: int, remaining: float | None) -> float:
        """How long to block: whoever polls once a TTL knows of each lease before it can end."""
        seconds = min(self.slice_seconds, request.ttl)
        if next_end == 0 or (next_end > 0 and (rank or 0) < FIRST_FEW):
            seconds = min(seconds, (next_end + 1) / 1000)
        if remaining is not None:
            seconds = min(seconds, remaining)
        return max(seconds, 0.001)  # 0 would be for ever

    def _block(self, request: Request, seconds: float) -> Flow[bytes | None]:
        try:
            mail: bytes | None = yield Block(self.keys.mailbox(request.box), request.token, seconds)
        except Unavailable:
            # the next acquire script finds out what has become of us, and rides out what must be ridden out
            yield Pause(random.uniform(0.01, 0.05))  # noqa: S311
            return None
        return mail

    def _last_chance(self, request: Request, timeout: float | None) -> Flow[Grant]:
        """The time is up: leave the queue, unless the grant was on its way."""
        asked, reply = yield from self._cancel(request, "keep", None)
        if reply[0] == b"granted":
            return _grant(reply[1], asked, reply[2])
        raise self._timed_out(request, timeout)

    def _cancel(self, request: Request, grants: str, patience: float | None) -> Flow[tuple[float, list[Any]]]:
        return (
            yield from self._call(
                scripts.CANCEL, request.token, request.box, grants, request.account, patience=patience
            )
        )

    def _abandon(self, request: Request) -> Flow[None]:
        """The caller is gone: leave the queue, and give back what was granted."""
        if not self._contacted:
            return
        try:
            yield from self._cancel(request, "return", _PATIENCE_TO_CANCEL)
        except Exception as error:  # noqa: BLE001 - the caller's own error is the one to be seen
            log.warning("could not cancel a request; what it was granted comes back by its TTL: %s", error)

    def _timed_out(self, request: Request, timeout: float | None) -> AcquireTimeout:
        what = f"account {request.account!r}" if request.account else "an account"
        return AcquireTimeout(f"{what} of pool {self.keys.pool!r} did not come free within {timeout or 0:g} seconds")

    def _in_vain(self, kind: bytes, request: Request) -> RedispoolError:
        if kind == b"empty":
            return PoolEmpty(f"account pool {self.keys.pool!r} is empty; add accounts with add_account()")
        if kind == b"unknown":
            return self._unknown(request.account)
        return ProtocolMismatch(f"unexpected reply {kind!r} of the acquire script")

    def _unknown(self, name: str) -> UnknownAccount:
        return UnknownAccount(f"account {name!r} is not in pool {self.keys.pool!r}")

    def release(self, token: str, valid_until: float, cooldown: float) -> Flow[None]:
        """Give an account back.

        Args:
            token: the lease's.
            valid_until: until when the lease cannot have ended, by the monotonic clock.
            cooldown: seconds that the seat rests.

        Raises:
            LeaseLost: it had ended before.
        """
        started = self.clock()
        _, reply = yield from self._call(scripts.RELEASE, milliseconds(cooldown), token)
        # a token that is gone before its time was released by an earlier send whose reply was lost
        if not reply[0] and started >= valid_until:
            raise LeaseLost(f"the lease on an account of pool {self.keys.pool!r} ended before it was released")

    def release_owner(self, owner: str) -> Flow[int]:
        """Release all that an owner holds; how many that was."""
        count = 0
        while True:
            _, tokens = yield from self._call(scripts.OWNED, owner, _PAGE)
            if not tokens:
                return count
            yield from self._call(scripts.RELEASE, 0, *tokens)
            count += len(tokens)

    def renew(
        self, leases: Sequence[tuple[str, float]], max_lease: float | None
    ) -> Flow[list[tuple[float, float] | None]]:
        """Renew leases, given by token and ttl in seconds: for each its new expiry and local end, None where it is over."""
        limit = milliseconds(max_lease or 0)
        results: list[tuple[float, float] | None] = []
        for start in range(0, len(leases), _RENEW_CHUNK):
            chunk = leases[start : start + _RENEW_CHUNK]
            words = [word for token, ttl in chunk for word in (token, milliseconds(ttl), limit)]
            # no patience: the keeper itself tries again, as long as there is something to save
            asked, (now, *expiries) = yield from self._call(scripts.RENEW, *words, patience=0.0)
            results += [(end / 1000, asked + (end - now) / 1000) if end else None for end in expiries]
        return results

    # -- members -------------------------------------------------------------------------------------------------

    def add(
        self, rows: Iterable[tuple[str, str, bytes]], total: int, progress: Callable[[int, int], None] | None
    ) -> Flow[int]:
        """Add or update accounts, given by name, hash and record; how many were new."""
        added = done = 0
        remaining = iter(rows)
        while chunk := list(islice(remaining, _ADD_CHUNK)):
            if not self._registered:
                yield from self._send(Plain(("SADD", pools_key(self.keys.namespace), self.keys.pool)))
                self._registered = True
            reply = yield from self._call_in_full(scripts.ADD, *(word for row in chunk for word in row))
            added += reply[0]
            done += len(chunk)
            if progress is not None:
                progress(done, total)
        return added

    def remove(self, rows: Sequence[tuple[str, str]]) -> Flow[None]:
        """Remove accounts, given by name and hash. Raises UnknownAccount, before anything has changed."""
        found = yield from self.lookup("name", [name for name, _ in rows])
        for (name, _), member in zip(rows, found, strict=True):
            if member is None:
                raise self._unknown(name)
        for start in range(0, len(rows), _REMOVE_CHUNK):
            chunk = rows[start : start + _REMOVE_CHUNK]
            yield from self._call_in_full(scripts.REMOVE, *(word for row in chunk for word in row))

    def replace(self, name: str, account_hash: str, change: Callable[[bytes], tuple[str, str, bytes]]) -> Flow[None]:
        """Change an account's record, and perhaps its name, whatever others change meanwhile.

        Raises:
            UnknownAccount: the pool has no such account.
            AccountExists: the pool has an account of the new name.
        """
        while True:
            (member,) = yield from self.lookup("name", [name])
            if member is None:
                raise self._unknown(name)
            record = member[1]
            new_name, new_hash, new_record = change(record)
            reply = yield from self._call_in_full(
                scripts.REPLACE, name, account_hash, record, new_name, new_hash, new_record
            )
            if reply[0] == b"done":
                return
            if reply[0] == b"exists":
                raise AccountExists(f"pool {self.keys.pool!r} has an account {new_name!r} already")
            if reply[0] == b"unknown":
                raise self._unknown(name)

    def reset(self, *, leave_no_trace: bool = False) -> Flow[None]:
        """Remove all accounts, end all leases, send all waiters away."""
        while True:
            _, (left,) = yield from self._call(scripts.RESET, int(leave_no_trace))
            if not left:
                break
        if leave_no_trace:
            yield from self._send(Plain(("SREM", pools_key(self.keys.namespace), self.keys.pool)))
            self._registered = False

    def lookup(self, by: str, values: Sequence[str]) -> Flow[list[tuple[str, bytes] | None]]:
        """The name and record of each account asked for, `by` 'name' or 'hash'; None for one that there is not."""
        members: list[tuple[str, bytes] | None] = []
        for start in range(0, len(values), _LOOKUP_CHUNK):
            _, reply = yield from self._call(scripts.LOOKUP, by, *values[start : start + _LOOKUP_CHUNK])
            members += [(row[0].decode(), row[1]) if row else None for row in reply]
        return members

    def names(self, which: str) -> Flow[list[str]]:
        """The names of the 'members' in the order added, or of the 'rotation' in the order of their turns."""
        names: list[str] = []
        seen: dict[bytes, int] = {}
        start = 0
        while True:
            _, reply = yield from self._call(scripts.NAMES, which, start, start + _PAGE - 1)
            for name, places in zip(reply[::2], reply[1::2], strict=True):
                seen[name] = seen.get(name, 0) + 1
                if which == "members" or seen[name] == places:  # of an account's entries, the last is its turn
                    names.append(name.decode())
            if len(reply) < 2 * _PAGE:
                return names
            start += _PAGE

    def inspect(self, *, leases: bool = True) -> Flow[Figures]:
        """The pool's figures and, if wanted, its leases, page by page."""
        rows: dict[str, LeaseRow] = {}
        start = 0
        while True:
            first, last = (start, start + _PAGE - 1) if leases else (1, 0)
            _, reply = yield from self._call(scripts.INSPECT, first, last)
            now, accounts, free, _, cooling, waiting, count = reply[:7]
            for token, expires, entry in zip(reply[7::3], reply[8::3], reply[9::3], strict=True):
                seat, owner, fence, since = entry.decode("utf-8", "replace").split("\n")
                name = token.decode("utf-8", "replace")
                rows[name] = LeaseRow(name, seat, owner, int(fence), int(since) / 1000, float(expires) / 1000)
            if count < _PAGE:
                by_age = tuple(sorted(rows.values(), key=lambda row: row.fence))
                return Figures(now / 1000, accounts, free, cooling, waiting, by_age)
            start += _PAGE


def _grant(packed: bytes, asked: float, server_now: int) -> Grant:
    _, token, seat, fence, since, expires, record = packed.split(b"\n", 6)
    end = int(expires)
    return Grant(
        token.decode(),
        seat.decode(),
        int(fence),
        int(since) / 1000,
        end / 1000,
        asked + (end - server_now) / 1000,
        record,
    )
