"""The routing rules that all hosts share: a list of JSON documents, in the order in which they are tried.

An entry reads `{"match":[{"glob":"lab-*"},{"regex":"^x","ignore_case":true},{"network":"10.0.0.0/8"}],"pool":"lab"}`.
One that is not understood in full is an error and never skipped: the hosts that it is for would silently be served
by another pool.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redispool.arguments import check_pool_name
from redispool.errors import ConfigError, ProtocolMismatch
from redispool.protocol import scripts
from redispool.protocol.commands import Call, Plain
from redispool.protocol.keys import routes_key
from redispool.protocol.rules import MAX_RULES, Glob, Network, Regex, Rule

if TYPE_CHECKING:
    from redispool.hosts import HostIdentity
    from redispool.protocol.channel import Channel
    from redispool.protocol.commands import Flow

MAX_ROUTES = 1000
_MAX_ENTRY = 256 * 1024  # bytes; a sequence of the longest rules fits
_SHOWN = 200  # characters of a bad entry that the error shows


@dataclass(frozen=True, slots=True)
class Route:
    """Hosts for which any of the rules holds are served by the pool."""

    pool: str
    rules: tuple[Rule, ...]

    def matches(self, host: HostIdentity) -> bool:
        """Whether the pool serves the host."""
        return any(rule.matches(host) for rule in self.rules)


@dataclass(frozen=True, slots=True)
class Entry:
    """A route as it stands in the list, which somebody else may have written with other spaces."""

    text: bytes
    route: Route


def encode_route(route: Route) -> str:
    """The one way in which we write a route; equal routes are equal text."""
    document = {"match": [_document_of(rule) for rule in route.rules], "pool": route.pool}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _document_of(rule: Rule) -> dict[str, Any]:
    match rule:
        case Glob():
            return {"glob": rule.pattern}
        case Network():
            return {"network": str(rule.network)}
        case Regex(ignore_case=True):
            return {"ignore_case": True, "regex": rule.pattern}
        case _:
            return {"regex": rule.pattern}


def decode_route(text: bytes) -> Route:
    """Read an entry. Raises ValueError where it is not understood to the last word."""
    if len(text) > _MAX_ENTRY:
        raise ConfigError(f"it is over {_MAX_ENTRY} bytes long")
    try:
        document = json.loads(text.decode())
    except RecursionError:
        raise ConfigError("it is nested too deeply") from None
    match document:
        case {"pool": pool, "match": [_, *_] as rules, **rest} if not rest and len(rules) <= MAX_RULES:
            return Route(check_pool_name(pool), tuple(_rule_from(rule) for rule in rules))
    raise ConfigError(f'it is not of the form {{"pool": NAME, "match": [1 to {MAX_RULES} rules]}}')


def _rule_from(document: Any) -> Rule:
    match document:
        case {"glob": pattern, **rest} if not rest:
            return Glob(pattern)
        case {"regex": pattern, "ignore_case": bool(ignore_case), **rest} if not rest:
            return Regex(pattern, ignore_case)
        case {"regex": pattern, **rest} if not rest:
            return Regex(pattern)
        case {"network": str(network), **rest} if not rest:
            return Network(ipaddress.ip_network(network))
    raise ConfigError("it has a rule that is no glob, regex or network")


class RouteFlows:
    """Reads and changes the rules of a namespace.

    Args:
        channel: over which they talk.
        namespace: the namespace.
    """

    def __init__(self, channel: Channel, namespace: str) -> None:
        self.channel = channel
        self._key = routes_key(namespace)

    def read(self, deadline: float | None = None) -> Flow[tuple[float, tuple[Entry, ...]]]:
        """When they were asked for, by the monotonic clock, and the rules in their order.

        Raises:
            ProtocolMismatch: an entry is none of ours; the message shows it.
        """
        asked, texts = yield from self.channel.send(Plain(("LRANGE", self._key, "0", str(MAX_ROUTES))), deadline)
        if len(texts) > MAX_ROUTES:
            raise ProtocolMismatch(f"list {self._key!r} has more than {MAX_ROUTES} routing rules; remove some")
        return asked, tuple(self._entry(place, text) for place, text in enumerate(texts))

    def _entry(self, place: int, text: bytes) -> Entry:
        try:
            return Entry(text, decode_route(text))
        except ValueError as error:
            raise ProtocolMismatch(
                f"entry {place} of list {self._key!r} is no routing rule that this redispool understands: {error}. "
                f"Correct it (LSET) or remove it (LREM); it reads {text.decode(errors='replace')[:_SHOWN]!r}"
            ) from None

    def add(self, route: Route) -> Flow[bool]:
        """Put a rule at the end, unless it is there; whether it was new.

        Raises:
            ConfigError: there are too many.
        """
        call = Call(scripts.ROUTE, self._key, (encode_route(route), str(MAX_ROUTES)))
        _, added = yield from self.channel.send(call)
        if added < 0:
            raise ConfigError(
                f"there are {MAX_ROUTES} routing rules already; remove some, or pass several rules as one sequence"
            )
        return bool(added)

    def remove(self, pool: str, rules: tuple[Rule, ...] | None) -> Flow[int]:
        """Remove the rule of a pool, or with None all of them; how many there were."""
        _, entries = yield from self.read()
        removed = 0
        for entry in entries:
            if entry.route.pool == pool and rules in (None, entry.route.rules):
                yield from self.channel.send(Plain(("LREM", self._key, "0", entry.text)))
                removed += 1  # the reply would be 0 where an earlier send did it
        return removed

    def clear(self) -> Flow[None]:
        """Remove all rules."""
        yield from self.channel.send(Plain(("DEL", self._key)))
