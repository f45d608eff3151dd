"""A place in the queue for a caller who goes away meanwhile, and may come back as another process on another host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redispool.errors import ReplicationError
from redispool.protocol import scripts
from redispool.protocol.flows import LeaseFlows
from redispool.protocol.requests import milliseconds, read_grant

if TYPE_CHECKING:
    from redispool.protocol.commands import Flow
    from redispool.protocol.requests import Grant, Request

_SLACK = 2.0  # seconds that a caller may be late


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a pool's queue, as its owner carries it about.

    Attributes:
        token: under which the place is kept; nobody ever uses an account under it.
        stamp: where in the queue it is.
        rank: how many were before it when it was last asked for.
    """

    token: str
    stamp: str
    rank: int = 0


class PlaceFlows(LeaseFlows):
    """Acquire without waiting, and without losing one's place."""

    def visit(self, request: Request, place: Place | None, away: float | None) -> Flow[list[Grant] | Place]:
        """Take an account if one can be had, else keep a place in the queue.

        An account that comes free for a caller who is away stays reserved until he comes, for a lease's time at most.
        A place that lapsed, for its owner was late, is had again at the next visit.

        Whoever comes back asks under a new token, and then lets the old one go with all that it was granted: so two who
        come with the same place, as a message was delivered twice, never share an account.

        Args:
            request: what is wanted; the mailbox is the token's own.
            place: the place that the last visit gave.
            away: seconds until the next visit at the latest, if this one is in vain; None: there will be none.

        Raises:
            AcquireTimeout: there was none, and there will be no further visit.
            PoolEmpty, PoolExhausted, UnknownAccount, ConfigError, ReplicationError: nothing was taken.
        """
        presence = _SLACK if away is None else away + _SLACK
        try:
            return (yield from self._visit(request, place, away, presence))
        except ReplicationError:
            yield from self._abandon(request)
            raise

    def _visit(
        self, request: Request, place: Place | None, away: float | None, presence: float
    ) -> Flow[list[Grant] | Place]:
        result = yield from self._ask(request, "" if place is None else place.stamp, presence)
        if place is not None:
            yield from self.channel.call(scripts.CANCEL, place.token, place.token, "return", request.want, "1")
            if isinstance(result, Place):  # what was reserved may have come to the new token
                result = yield from self._ask(request, result.stamp, presence)
        if away is None and isinstance(result, Place):
            yield from self.channel.call(scripts.CANCEL, request.token, request.box, "return", request.want, "1")
            raise self._timed_out(request, 0.0)
        return result

    def _ask(self, request: Request, stamp: str, presence: float) -> Flow[list[Grant] | Place]:
        while True:
            asked, reply = yield from self.channel.call(
                scripts.ACQUIRE, *request.words(str(milliseconds(presence)), stamp), durable=True
            )
            if reply[0] == b"granted":
                return [read_grant(packed, asked, reply[1]) for packed in reply[2:]]
            if reply[0] == b"waiting":
                return Place(request.token, _text(reply[1]), reply[2] or 0)
            yield from self._overcome(request, None, *reply)


def _text(stamp: Any) -> str:
    return stamp.decode() if isinstance(stamp, bytes) else str(stamp)
