"""Draws the main figures of a run, for the README."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure as Sheet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmark.report import Figure

_OURS, _THEIRS, _LINE = "#2b6cb0", "#a0aec0", "#4a5568"


def draw(figures: Sequence[Figure], file: Path) -> None:
    """Write the plot; what was not measured is left out of it.

    Args:
        figures: of one run.
        file: where to; the ending says in which format.
    """
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "redispool", "font.family": "sans-serif", "font.size": 9}
    sheet = Sheet(figsize=(10, 7), layout="constrained")
    uncontended, contended, handoff, growth = sheet.subplots(2, 2).flat
    _bars(uncontended, _group(figures, r"uncontended: speed against"), "redispool's speed: nobody waits")
    _bars(
        contended,
        _group(figures, r"(\d+) contenders in \1 processes, \d+ turns"),
        "redispool's speed: many want one account",
    )
    _handoffs(handoff, figures)
    _growth(growth, figures)
    sheet.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def _group(figures: Sequence[Figure], pattern: str) -> list[Figure]:
    return [one for one in figures if re.search(pattern, one.group)]


def _bars(axes: Axes, found: list[Figure], title: str) -> None:
    """Ratios: to the right of the line, redispool is the faster one."""
    found = [one for one in reversed(found) if "one process" not in one.name]  # which is another order of magnitude
    values = [one.median for one in found]
    spread = [[one.median - one.low for one in found], [one.high - one.median for one in found]]
    colours = [_OURS if value >= 1 else _THEIRS for value in values]
    axes.barh([one.name for one in found], values, xerr=spread, color=colours, ecolor=_LINE, capsize=2)
    for row, value in enumerate(values):
        axes.annotate(f" {value:.2g}", (value, row), (4, 5), textcoords="offset points", fontsize=8)
    axes.axvline(1, color=_LINE, linewidth=1)
    axes.set_xscale("log", base=2)
    if values:
        axes.set_xlim(min(values) / 1.5, max(values) * 2)
    axes.set_title(title, loc="left")
    axes.set_xlabel("times as fast as")
    axes.xaxis.set_major_formatter("{x:g}")


def _handoffs(axes: Axes, figures: Sequence[Figure]) -> None:
    """From a release to the return of the next one's acquire, by how many wait."""
    for percent, style in (("p50", "o-"), ("p99", "s--")):
        found = _group(figures, rf"^accounts: 1; hand-off, {percent}")
        if found:
            counts = [int(one.name.split()[0]) for one in found]
            axes.plot(counts, [one.median for one in found], style, color=_OURS, label=percent)
            axes.legend(frameon=False)
    axes.set_xscale("log", base=4)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xticks([4**power for power in range(6)])
    axes.set_xlabel("contenders for one account")
    axes.set_title("from a release to the next acquire, ms", loc="left")


def _growth(axes: Axes, figures: Sequence[Figure]) -> None:
    """The server's time of a cycle in large pools, beside long queues and many leases."""
    kinds = (
        ("accounts", r"^server time, ([\d,]+) accounts against", r"^CPU", "o-"),
        ("waiters", r"beside waiters", r"^([\d,]+) waiting", "s--"),
        ("leases", r"beside leases", r"^([\d,]+) leased", "^:"),
    )
    for label, group, name, style in kinds:
        found = [one for one in _group(figures, group) if re.search(name, one.name)]
        sizes = [re.search(r"[\d,]{2,}|\d", one.group if label == "accounts" else one.name) for one in found]
        counts = [int(size[0].replace(",", "")) for size in sizes if size]
        if counts:
            axes.plot(counts, [one.median for one in found], style, label=label)
            axes.legend(frameon=False)
    axes.axhline(1, color=_LINE, linewidth=1)
    axes.set_xscale("log")
    axes.set_ylim(0, 2)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("how many there are")
    axes.set_title("server time, against a small pool's", loc="left")
