"""What a client does, step by step: generators that yield commands and are sent the replies.

A driver feeds them (`redispool.drivers`); whether it blocks or awaits is no concern of theirs. What
goes wrong at a command is thrown into the flow at that point: `Unavailable` where the server cannot
be reached, which the flows ride out; anything else (Ctrl-C, cancellation) makes them clean up first.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from redispool.errors import (
    AcquireTimeout,
    ConfigError,
    LeaseLost,
    PoolEmpty,
    PoolExhausted,
    ProtocolMismatch,
    RedispoolError,
    ReplicationError,
)
from redispool.protocol import scripts
from redispool.protocol.chance import chance
from redispool.protocol.commands import Argument, Block, Flow, Pause, Unavailable
from redispool.protocol.requests import Request, milliseconds, read_grant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redispool.protocol.channel import PoolChannel
    from redispool.protocol.requests import Grant

log = logging.getLogger("redispool")

FIRST_FEW = 5  # so many waiters wake exactly when the next lease ends; the others at the end of their slice
_OWNED_PAGE = 1000
_MOST_CHOICES = 1000  # of labels, in one pool; each has a rotation of its own
_RENEW_CHUNK = 300
_RECHECK = 60.0  # seconds after which one of many at a mailbox asks for himself, should all else have failed
_LAST_PATIENCE = 1.0  # seconds, for the last word of a caller whose time is up


class LeaseFlows:
    """Acquire, release and renew.

    Args:
        channel: the pool's.
        slice_seconds: how long one BLPOP may take.
    """

    def __init__(self, channel: PoolChannel, *, slice_seconds: float) -> None:
        self.channel = channel
        self.slice_seconds = slice_seconds
        self._presence = str(milliseconds(3 * slice_seconds))

    def acquire(self, request: Request, timeout: float | None) -> Flow[list[Grant]]:
        """Take an account, or several at once, waiting in line for them.

        Args:
            request: what is wanted.
            timeout: seconds to wait; 0 does not wait, None waits for ever.

        Raises:
            AcquireTimeout, PoolEmpty, PoolExhausted, UnknownAccount, ConfigError, ReplicationError: nothing was taken.
        """
        deadline = None if timeout is None else self.channel.clock() + timeout
        wait = timeout is None or timeout > 0
        stamp: Argument = ""
        try:
            while True:
                # a request that does not wait still needs its one answer
                asked, reply = yield from self.channel.call(
                    scripts.ACQUIRE, *request.words(self._presence, stamp, wait=wait),
                    deadline=deadline if wait else None, patience=None if wait else _LAST_PATIENCE,
                    durable=True,
                )  # fmt: skip
                if reply[0] == b"granted":
                    return [read_grant(packed, asked, reply[1]) for packed in reply[2:]]
                if reply[0] == b"waiting":
                    stamp = reply[1]
                    grants = yield from self._wait(request, timeout, deadline, asked, *reply[2:])
                    if grants:
                        return grants
                else:
                    yield from self._overcome(request, timeout, *reply)
        except ReplicationError:
            yield from self._abandon(request)
            raise
        except (GeneratorExit, RedispoolError):
            raise  # nobody feeds us any more; or: the server has answered, and the token holds nothing
        except BaseException as error:
            if self.channel.contacted or not isinstance(error, Exception):
                yield from self._abandon(request)
            raise

    def _overcome(self, request: Request, timeout: float | None, kind: bytes, *details: Any) -> Flow[None]:
        """What must be done before it makes sense to ask again. Raises the error where it never will."""
        match kind:
            case b"choose":
                yield from self._choose(request.choice)
            case b"sealed":
                yield from self._renew_keys(request, details[0])
            case b"busy" if details[0]:
                return
            case b"busy":
                raise self._timed_out(request, timeout)
            case _:
                raise self._in_vain(request, kind, *details)

    def _wait(
        self,
        request: Request,
        timeout: float | None,
        deadline: float | None,
        asked: float,
        rank: int | None,
        next_end: int,
        server_now: int,
        restless: int = 0,
    ) -> Flow[list[Grant] | None]:
        """Wait for mail; what it grants, or None when it is time to ask again."""
        remaining = None if deadline is None else deadline - self.channel.clock()
        if remaining is not None and remaining <= 0:
            return (yield from self._last_chance(request, timeout))
        soon = (restless or 0 < next_end < self.slice_seconds * 1000) and (rank or 0) < FIRST_FEW
        try:
            mail: bytes | None = yield self._block(request, rank, next_end, remaining, soon=bool(soon))
        except Unavailable:
            # the next acquire script finds out what has become of us, and rides out what must be ridden out
            yield Pause(chance.uniform(0.01, 0.05))
            return None
        kind = b"again" if mail is None else mail.partition(b"\n")[0]
        if mail is None or kind == b"again":
            return None
        if kind != b"granted":
            yield from self._abandon(request)  # it may have joined the queue again since the mail was sent
            raise self._in_vain(request, kind)
        grant = read_grant(mail, asked, server_now)
        if not grant.token:
            yield from self._abandon(request)  # likewise: nobody remembers who got what is never locked
            return [grant]
        # the server's clock may have been set since we asked
        now = self.channel.clock()
        grant.valid_until = min(grant.valid_until, now + request.ttl)
        if grant.valid_until <= now:
            return None  # it was read too late
        # another's connection wrote the grant: only an answer to our own can wait for replicas
        return None if self.channel.replication else [grant]

    def _block(
        self, request: Request, rank: int | None, next_end: int, remaining: float | None, *, soon: bool
    ) -> Block:
        """How long to block, and where: whoever polls once a TTL knows of each lease before it can end."""
        seconds = min(self.slice_seconds, request.ttl)
        if next_end == 0 or (next_end > 0 and (rank or 0) < FIRST_FEW):
            seconds = min(seconds, (next_end + 1) / 1000)
        if remaining is not None:
            seconds = min(seconds, remaining)
        seconds = max(seconds, 0.001)  # 0 would be for ever
        alone = request.box == request.token
        longest = seconds if soon or alone else chance.uniform(0.5, 1.0) * _RECHECK
        if remaining is not None:
            longest = min(longest, remaining)
        return Block(self.channel.keys.mailbox(request.box), request.token, seconds, longest)

    def attend(self, box: str, attended_at: float) -> Flow[tuple[bool, float, float]]:
        """For a mailbox at which many wait: show that its reader lives, and reclaim, as each of them would alone.

        Args:
            box: the mailbox.
            attended_at: when that was last done, by the monotonic clock.

        Returns:
            Whether those who wait are still in the queue and not in vain (else they must ask again); when it was
            done; in how many seconds it is to be done again.
        """
        presence = 3 * self.slice_seconds
        asked, (well, next_end) = yield from self.channel.call(scripts.ATTEND, box, str(milliseconds(presence)))
        seconds = self.slice_seconds if next_end < 0 else min(self.slice_seconds, (next_end + 1) / 1000)
        return bool(well) and self.channel.clock() - attended_at < presence, asked, seconds

    def _last_chance(self, request: Request, timeout: float | None) -> Flow[list[Grant]]:
        """The time is up: leave the queue, unless the grant was on its way."""
        asked, reply = yield from self._cancel(request, "keep")
        if reply[0] == b"granted":
            return [read_grant(packed, asked, reply[1]) for packed in reply[2:]]
        raise self._timed_out(request, timeout)

    def _cancel(self, request: Request, grants: str) -> Flow[tuple[float, list[Any]]]:
        words = (request.token, request.box, grants, request.want, str(request.count))
        durable = grants == "keep"
        return (yield from self.channel.call(scripts.CANCEL, *words, patience=_LAST_PATIENCE, durable=durable))

    def _abandon(self, request: Request) -> Flow[None]:
        """The caller is gone: leave the queue, and give back what was granted."""
        try:
            yield from self._cancel(request, "return")
        except Exception as error:  # noqa: BLE001 - the caller's own error is the one to be seen
            log.warning("could not cancel a request; what it was granted comes back by its TTL: %s", error)

    def _renew_keys(self, request: Request, needed: bytes) -> Flow[None]:
        """The pool is sealed with other keys than ours: get them, or be gone."""
        try:
            self.channel.renew_keys(needed)
        except Exception:
            yield from self._abandon(request)  # it may have waited, or been granted something, before
            raise

    def _choose(self, choice: str) -> Flow[None]:
        """Have the server make a rotation of the accounts that carry the labels; so it is once for each choice."""
        cursor = b"0"
        while True:
            _, (cursor,) = yield from self.channel.call(scripts.CHOOSE, choice, cursor, str(_MOST_CHOICES))
            if cursor == b"full":
                raise ConfigError(
                    f"pool {self.channel.keys.pool!r} has been asked for {_MOST_CHOICES} different choices of labels, "
                    "and remembers each: ask for fewer labels at a time, put accounts that are chosen by name into a "
                    "pool of their own, or have reset() forget the choices and add the accounts anew"
                )
            if cursor == b"0":
                return

    def _timed_out(self, request: Request, timeout: float | None) -> AcquireTimeout:
        return AcquireTimeout(
            f"{request} of pool {self.channel.keys.pool!r} did not come free within {timeout or 0:g} seconds"
        )

    def _in_vain(self, request: Request, kind: bytes, most: int = 0) -> RedispoolError:
        pool = self.channel.keys.pool
        errors: dict[bytes, RedispoolError] = {
            b"empty": PoolEmpty(f"account pool {pool!r} is empty; add accounts with add_account()"),
            b"exhausted": PoolExhausted(
                f"{request} of pool {pool!r} cannot be had: all of them are quarantined; restore() one"
            ),
            b"too many": ConfigError(
                f"{request} of pool {pool!r} cannot be had at once: {most} is the most there can be"
            ),
            b"no cleanup": ConfigError(
                f"nothing is to be cleaned in pool {pool!r}, as accounts go from one user to the next; "
                "let them be cleaned in between with configure(cleanup=True)"
            ),
            b"unknown": PoolEmpty(f"{request} cannot be had: no account of pool {pool!r} carries these labels")
            if request.choice
            else self.channel.unknown(request.account),
        }
        unexpected = ProtocolMismatch(f"unexpected reply {kind!r} of the acquire script")
        return errors.get(kind, unexpected)

    def release(
        self,
        token: str,
        valid_until: float,
        cooldown: float | None,
        patience: float | None = None,
        *,
        sent_before: bool = False,
        undone: bool = False,
    ) -> Flow[None]:
        """Give an account back.

        Args:
            token: the lease's.
            valid_until: until when the lease cannot have ended, by the monotonic clock.
            cooldown: seconds that the seat rests; None for the pool's own.
            patience: seconds to ride out an outage; None: the channel's.
            sent_before: whether that was asked already, and not answered.
            undone: whether it was to be cleaned, and was not.

        Raises:
            LeaseLost: it had ended before.
        """
        started, unanswered = self.channel.clock(), self.channel.unanswered
        rest = "undone" if undone else "" if cooldown is None else str(milliseconds(cooldown))
        try:
            _, reply = yield from self.channel.call(scripts.RELEASE, rest, token, patience=patience)
        except (Exception, GeneratorExit):
            raise
        except BaseException:  # Ctrl-C, cancellation: the account goes back nevertheless
            yield from self._release_after_all(token, rest)
            raise
        # a token that is gone before its time was released by an earlier send whose reply was lost, if there was one
        sent_before = sent_before or self.channel.unanswered != unanswered
        if not reply[0] and (started >= valid_until or not sent_before):
            raise LeaseLost(f"the lease on an account of pool {self.channel.keys.pool!r} ended before it was released")

    def _release_after_all(self, token: str, rest: str) -> Flow[None]:
        try:
            yield from self.channel.call(scripts.RELEASE, rest, token, patience=_LAST_PATIENCE)
        except Exception as error:  # noqa: BLE001 - the caller's own error is the one to be seen
            log.warning("could not release an account; it comes back by its TTL: %s", error)

    def release_owner(self, owner: str) -> Flow[int]:
        """Release all that an owner holds; how many that was."""
        done: set[bytes] = set()
        while True:
            _, *owned = yield from self.channel.call_by_owner(scripts.OWNED, owner, str(_OWNED_PAGE))
            tokens = [token for token in owned if token not in done]  # an index that went astray names some for ever
            if not tokens:
                return len(done)
            yield from self.channel.call(scripts.RELEASE, "", *tokens)
            done.update(tokens)
            if len(owned) < _OWNED_PAGE:  # not what those of his who wait are given meanwhile
                return len(done)

    def renew(
        self, leases: Sequence[tuple[str, float]], max_lease: float | None, patience: float = 0.0
    ) -> Flow[list[tuple[float, float] | None]]:
        """Renew leases, given by token and ttl in seconds: the new expiry and local end of each; None: it is over.

        Without patience, for the keeper tries again by itself, as long as there is something to save.
        """
        limit = str(milliseconds(max_lease or 0))
        results: list[tuple[float, float] | None] = []
        for start in range(0, len(leases), _RENEW_CHUNK):
            chunk = leases[start : start + _RENEW_CHUNK]
            words = [word for token, ttl in chunk for word in (token, str(milliseconds(ttl)), limit)]
            asked, (now, *expiries) = yield from self.channel.call(
                scripts.RENEW, *words, patience=patience, durable=True
            )
            results += [(end / 1000, asked + (end - now) / 1000) if end else None for end in expiries]
        return results
