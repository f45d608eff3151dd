"""The command `redispool events`: what happened, and what happens."""

from __future__ import annotations

import time
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import redis
import typer
from rich.text import Text

from redispool.cli.options import NAMESPACE, JsonOption, NamespaceOption, OptionalPool, UrlOption, plain
from redispool.cli.site import Report, Site
from redispool.cli.tables import clock, table
from redispool.drivers import Wire, run
from redispool.errors import ConfigError
from redispool.protocol.channel import Channel
from redispool.protocol.commands import Plain
from redispool.protocol.keys import PoolKeys, pools_key
from redispool.protocol.oversight import EventRow, event_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.table import Table

    from redispool.status import HistoryEvent

_PATIENCE = 30.0  # seconds to ride out an outage while events are followed
_SLICE_MS = 1000  # of one XREAD
_PAGE = 500
_STYLES = {
    "expired": "yellow", "lost": "red", "revoked": "red", "bad": "yellow", "quarantined": "red", "unreadable": "red",
    "restored": "green",
}  # fmt: skip


def events(
    ctx: typer.Context,
    pool: OptionalPool = None,
    account: Annotated[str | None, typer.Option(help="Only of this account.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of the last ones.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with those to come, until Ctrl-C.")] = False,
    url: UrlOption = None,
    namespace: NamespaceOption = NAMESPACE,
    as_json: JsonOption = False,
) -> None:
    """Show what happened: who got what, when, and why it came back. The newest is last.

    JSON: an object a line with pool, at (seconds since 1970), event, account, owner, fence, why, token, and waited (how
    many seconds for what was granted, or null). The events are added, granted, released, expired, lost, revoked,
    returned, bad, quarantined, restored, removed, reset and the like.
    """
    site, report = Site.at(url, namespace), Report(ctx, as_json)
    pools = site.pools(pool)
    if follow:
        if isinstance(site.client, redis.RedisCluster) and pool is None:
            raise ConfigError("on a cluster, --follow needs the name of one pool")
        _follow(site, report, [one.name for one in pools], account, limit, others=pool is None)
        return
    found = [(one.name, row) for one in pools for row in reversed(one.history(account, limit=limit))]
    found.sort(key=lambda pair: pair[1].at)
    if as_json:
        for name, row in found[-limit:]:
            _tell(report, name, row)
    else:
        report.console.print(event_table(found[-limit:]) if found else "Nothing is known to have happened.")


def event_table(rows: Iterable[tuple[str, HistoryEvent]]) -> Table:
    """The events, each with the name of its pool, as a table."""
    cells = [
        (clock(row.at), pool, Text(plain(row.event), _STYLES.get(row.event, "")), row.account, row.owner, row.why)
        for pool, row in rows
    ]
    return table(["When", "Pool", "Event", "Account", "Who", "+Why"], cells)


def _tell(report: Report, pool: str, row: HistoryEvent | EventRow) -> None:
    if report.as_json:
        report.write({"pool": pool, **asdict(row)})
        return
    why = f": {row.why}" if row.why else ""
    line = Text(f"{clock(row.at)} ")
    line.append(f"{plain(pool)} ", "dim").append(plain(row.event), _STYLES.get(row.event, ""))
    line.append(plain(f" {row.account} {row.owner}{why}"))
    report.console.print(line, soft_wrap=True)


def _follow(site: Site, report: Report, pools: list[str], account: str | None, limit: int, *, others: bool) -> None:
    """Tell the last events and those to come, none twice and none left out; `others`: of pools to come, too."""
    streams = {PoolKeys(site.namespace, name).events: name for name in pools}
    wire, channel = Wire(site.client), Channel(patience=_PATIENCE)

    def send(*words: Any) -> Any:
        return run(channel.send(Plain(words)), wire)[1]

    def find_others() -> None:
        for name in site.shared(send("SMEMBERS", pools_key(site.namespace))) if others else ():
            key = PoolKeys(site.namespace, name).events
            streams.setdefault(key, name)
            seen.setdefault(key, b"0-0")

    seen = dict.fromkeys(streams, b"0-0")
    last: list[tuple[str, EventRow]] = []
    for key, name in streams.items():
        seen[key], rows = _last(send, key, account, limit)
        last += ((name, row) for row in reversed(rows))
    last.sort(key=lambda pair: pair[1].at)
    for name, row in chain(last[-limit:], _coming(send, streams, seen, find_others)):
        if account in (None, row.account):
            _tell(report, name, row)


def _last(send: Any, key: str, account: str | None, limit: int) -> tuple[bytes, list[EventRow]]:
    """The number of the newest event, and the last events of the account, or of all; the newest is first."""
    newest, end = b"0-0", b"+"
    rows: list[EventRow] = []
    page = limit if account is None else _PAGE
    while len(rows) < limit:
        entries = send("XREVRANGE", key, end, "-", "COUNT", page)
        if end == b"+" and entries:
            newest = entries[0][0]
        found = (row for entry in entries for row in reversed(event_rows(*entry)))
        rows += [row for row in found if account in (None, row.account)]
        if len(entries) < page:
            break
        end = b"(" + entries[-1][0]
    return newest, rows[:limit]


def _coming(
    send: Any, streams: dict[str, str], seen: dict[str, bytes], find_others: Callable[[], None]
) -> Iterator[tuple[str, EventRow]]:
    """The events as they come, each with the name of its pool."""
    while True:
        find_others()
        if not streams:
            time.sleep(_SLICE_MS / 1000)
            continue
        words = ("XREAD", "COUNT", _PAGE, "BLOCK", _SLICE_MS, "STREAMS", *streams, *(seen[key] for key in streams))
        for key, entries in send(*words) or ():
            seen[key.decode()] = entries[-1][0]
            for entry in entries:
                yield from ((streams[key.decode()], row) for row in event_rows(*entry))
