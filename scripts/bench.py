"""Measures redispool side by side with its peers, and prints ratios.

    python scripts/bench.py                  a private Valkey; less than three minutes
    python scripts/bench.py --quick          less than a minute, with a wider spread
    python scripts/bench.py --thorough       the full sizes: a million accounts, 500 processes; 15 to 20 minutes
    python scripts/bench.py --url redis://…  your own server; what it leaves there it removes at the end
    python scripts/bench.py --since COMMIT   the scripts of this tree against those of another commit

Needs: pip install 'redispool[bench]'. All peers run by turns in one run, so that what else the machine
does meets them alike. A ratio above 1 says that redispool is the better one, unless its target is an upper bound.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from benchmark import (
    batches,
    cluster,
    contended,
    crowds,
    labels,
    load,
    memory,
    scale,
    since,
    storm,
    striped,
    tasks,
    uncontended,
)
from benchmark.report import Figure, document, table, targets
from benchmark.server import private_server, swept_prefix
from benchmark.settings import QUICK, THOROUGH, Settings
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable

MEASUREMENTS = {
    "uncontended": uncontended.measure,
    "contended": contended.measure,
    "crowds": crowds.measure,
    "tasks": tasks.measure,
    "storm": storm.measure,
    "batches": batches.measure,
    "memory": memory.measure,
    "scale": scale.measure,
    "load": load.measure,
    "labels": labels.measure,
    "striped": striped.measure,
    "cluster": cluster.measure,
}
KINDS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "tuple[int, ...]": lambda text: tuple(int(part) for part in text.split(",")),
}
SIZES = {one.name: one for one in fields(Settings) if one.name not in {"url", "prefix"}}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="the server to measure; default: a private Valkey")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="preset", action="store_const", const=QUICK, default={})
    size.add_argument("--thorough", dest="preset", action="store_const", const=THOROUGH)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the main ones")
    parser.add_argument("--only", choices=MEASUREMENTS, action="append", help="this measurement; may be repeated")
    parser.add_argument("--since", metavar="COMMIT", help="compare with the scripts of that commit, and nothing else")
    sizes = parser.add_argument_group("sizes", "see scripts/benchmark/settings.py")
    for name, one in SIZES.items():
        kind = KINDS[str(one.type)]
        sizes.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N", help=f"default: {one.default}")
    return parser.parse_args()


def run(given: argparse.Namespace, settings: Settings, console: Console) -> list[Figure]:
    if given.since is not None:
        return since.measure(settings, given.since)
    figures: list[Figure] = []
    for name in given.only or MEASUREMENTS:
        with console.status(f"measuring: {name}"):
            start = time.monotonic()
            figures += MEASUREMENTS[name](settings)
        console.log(f"{name}: {time.monotonic() - start:.0f} s", log_locals=False)
    return figures


def main() -> None:
    given = arguments()
    console = Console()
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # for the server that forks the contenders
    sizes = {**given.preset, **{name: value for name in SIZES if (value := getattr(given, name)) is not None}}
    with ExitStack() as stack:
        url = given.url or stack.enter_context(private_server())
        settings = Settings(url, stack.enter_context(swept_prefix(url)), **sizes)
        start = time.monotonic()
        figures = run(given, settings, console)
        console.print(table(figures))
        if any(one.target for one in figures):
            console.print(targets(figures))
        console.print(f"{time.monotonic() - start:.0f} seconds on {os.cpu_count()} processors that the server shared")
        if given.json is not None:
            with redis.Redis.from_url(url) as client:
                given.json.write_text(json.dumps(document(figures, settings, client), indent=2), encoding="utf-8")
        if given.plot is not None:
            from benchmark.plot import draw  # noqa: PLC0415 - matplotlib takes its time to load

            draw(figures, given.plot)


if __name__ == "__main__":
    main()
