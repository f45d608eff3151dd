"""How results look: tables that read well at 80 columns and in a pipe, and times for people."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from redispool.cli.options import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Cell = str | int | Text
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """A table without lines; '#' before a column's name: it is of numbers, '+': it takes the room that is left."""
    found = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        found.add_column(
            column.lstrip("#+"),
            justify="right" if column.startswith("#") else "left",
            overflow="fold",
            ratio=1 if column.startswith("+") else None,
        )
    for row in rows:
        found.add_row(*map(text, row))
    return found


def text(cell: Cell) -> Text:
    """A cell that is shown as it is: nothing in it is markup, and nothing steers the terminal."""
    return cell if isinstance(cell, Text) else Text(plain(str(cell)))


def figures(pairs: Iterable[tuple[str, Cell]]) -> Text:
    """Names and figures in a line; a 0 is dim."""
    parts: list[Text] = []
    for name, value in pairs:
        parts.append(Text(f"{plain(str(value))} {name}", "dim" if value == 0 else ""))
    return Text(", ").join(parts)


def duration(seconds: float) -> str:
    """A time for people: '0.4 s', '12 s', '3 min 5 s', '2 h 10 min', '3 d 4 h'."""
    if seconds < 10:  # noqa: PLR2004 - below, tenths count
        return f"{max(seconds, 0.0):.1f} s"
    whole = int(seconds)
    if seconds < _MINUTE:
        return f"{whole} s"
    if seconds < _HOUR:
        return f"{whole // 60} min {whole % 60} s"
    if seconds < _DAY:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def clock(at: float) -> str:
    """A moment, in the local time."""
    return dt.datetime.fromtimestamp(at, dt.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
