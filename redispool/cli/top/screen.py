"""How `redispool top` looks."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from redispool.cli.exits import reason_of
from redispool.cli.options import plain
from redispool.cli.tables import Cell, duration, table
from redispool.watch import KEPT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from redispool.status import LeaseInfo, WaiterInfo
    from redispool.watch import PoolView, Watch

_BARS = " ▁▂▃▄▅▆▇█"
_MOST_POOLS, _MOST_WAITERS = 5, 5  # rows
_FIXED = 8  # lines of headings, gaps and keys
_CROWDED, _NARROW = 16, 70  # lines and columns, below which there is not room for all
_KEYS = "up/down choose  s sort  / filter  tab pool  r release  x quarantine  q quit"


@dataclass(frozen=True, slots=True)
class Row:
    """A lease, and the pool that it is of."""

    pool: str
    lease: LeaseInfo
    now: float


SORTS: dict[str, Callable[[Row], tuple[float | str, ...]]] = {
    "longest held": lambda row: (-row.lease.age, row.lease.account),
    "account": lambda row: (row.lease.account, row.pool),
    "holder": lambda row: (row.lease.owner, row.lease.account),
    "ends first": lambda row: (row.lease.expires_at, row.lease.account),
}


@dataclass(slots=True)
class View:
    """What of it is looked at, and how: changed by keys."""

    namespace: str
    sort: str = "longest held"
    filter: str = ""
    pool: str = ""  # the only one to look at; '' for all
    chosen: str = ""  # the token of a lease
    prompt: Text = field(default_factory=Text)  # in place of the keys
    message: str = ""

    def rows(self, pools: Sequence[PoolView]) -> list[Row]:
        """The leases to be shown, in their order."""
        rows = [
            Row(pool.status.name, lease, pool.status.at)
            for pool in pools
            if self.pool in ("", pool.status.name)
            for lease in pool.status.leases
        ]
        wanted = self.filter.lower()
        rows = [row for row in rows if wanted in f"{row.pool} {row.lease.account} {row.lease.owner}".lower()]
        return sorted(rows, key=SORTS[self.sort])

    def place(self, rows: Sequence[Row]) -> int:
        """Where the chosen lease stands; where it has ended, the first is chosen."""
        return next((place for place, row in enumerate(rows) if row.lease.token == self.chosen), 0)

    def move(self, rows: Sequence[Row], step: int) -> None:
        """Choose another lease, so many places down."""
        if rows:
            self.chosen = rows[max(min(self.place(rows) + step, len(rows) - 1), 0)].lease.token


def picture(watch: Watch, view: View, height: int, width: int) -> RenderableType:
    """All of the screen."""
    rows = view.rows(watch.pools)
    view.move(rows, 0)
    looked_at = [pool for pool in watch.pools if view.pool in ("", pool.status.name)]
    pools = looked_at[: max(min(_MOST_POOLS, height - _CROWDED), 1)]
    waiters = [(pool.status.name, waiter) for pool in looked_at for waiter in pool.waiters]
    room = max(height - _FIXED - len(pools) - min(len(waiters), _MOST_WAITERS) - 2, 3)
    return Group(
        _heading(view),
        _pools(pools, len(watch.pools), narrow=width < _NARROW),
        _sparkline(watch.rates),
        Text(),
        _leases(rows, view, room),
        Text(),
        _queue(waiters),
        _footer(watch, view),
    )


def _heading(view: View) -> Text:
    clock = dt.datetime.now().astimezone().strftime("%H:%M:%S")
    parts = Text.assemble(("redispool top", "bold"), f"  {plain(view.namespace)}  {clock}  sorted by {view.sort}")
    if view.pool:
        parts.append(f"  pool {plain(view.pool)}", "cyan")
    if view.filter:
        parts.append(f"  filter {plain(view.filter)}", "cyan")
    parts.no_wrap = True
    return parts


def _pools(pools: Sequence[PoolView], count: int, *, narrow: bool) -> RenderableType:
    rows: list[list[Cell]] = []
    for pool in pools:
        one = pool.status
        rate = "" if pool.rate is None else f"{pool.rate:.1f}"
        waits = [_time(pool.percentile(percent)) for percent in (50, 95)]
        waiting = Text(str(one.waiting), "yellow" if one.waiting else "")
        out = Text(str(one.quarantined), "red" if one.quarantined else "")
        rows.append([one.name, one.accounts, one.free, one.held, one.cooling, out, waiting, rate, *waits])
    name = "Pool" if count <= len(pools) else f"Pool (of {count})"
    columns = [name, "#Acc.", "#Free", "#Held", "#Cool", "#Quar.", "#Wait", "#A second", "#p50", "#p95"]
    shown = [0, 2, 3, 5, 6] if narrow else range(len(columns))
    found = table([columns[place] for place in shown], [[row[place] for place in shown] for row in rows])
    for column in found.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    return found


def _time(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _sparkline(rates: Sequence[float]) -> Text:
    most = max(rates, default=0.0)
    bars = "".join(_BARS[-(-int(rate * 100) * (len(_BARS) - 1) // max(int(most * 100), 1))] for rate in rates)
    shown = f"{rates[-1]:.1f} now, {most:.1f} at most" if rates else "to be counted"
    return Text.assemble("Hand-outs a second ", (bars[-KEPT:][-35:], "green"), f" {shown}", no_wrap=True)


def _leases(rows: Sequence[Row], view: View, room: int) -> RenderableType:
    start = max(min(view.place(rows) - room // 2, len(rows) - room), 0)
    cells = []
    for number, row in enumerate(rows[start : start + room], start):
        mark = Text(">" if number == view.place(rows) else " ", "bold cyan")
        left = row.lease.expires_at - row.now
        ends = Text(duration(left), "red" if left < 1 else "")
        cells.append((mark, row.lease.account, row.pool, row.lease.owner, duration(row.lease.age), ends))
    if not cells:
        return Text("  Nothing is held." if not view.filter else "  Nothing that is held fits the filter.", "dim")
    found = table(["", "Account", "Pool", "+Held by", "#For", "#Ends in"], cells)
    for column in found.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    return found


def _queue(waiters: Sequence[tuple[str, WaiterInfo]]) -> RenderableType:
    if not waiters:
        return Text("  Nobody waits.", "dim")
    cells = [
        (place, waiter.owner, pool, waiter.wants or "any", _time(waiter.estimated_wait) or "?")
        for place, (pool, waiter) in enumerate(waiters[:_MOST_WAITERS], 1)
    ]
    found = table(["#", f"+Waiting ({len(waiters)})", "Pool", "Wants", "#About"], cells)
    for column in found.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    return found


def _footer(watch: Watch, view: View) -> Text:
    if view.prompt:
        return view.prompt
    if watch.trouble:
        return Text(plain(reason_of(watch.trouble)), "bold red", no_wrap=True, overflow="ellipsis")
    return Text(plain(view.message), "yellow") if view.message else Text(_KEYS, "dim", no_wrap=True)
