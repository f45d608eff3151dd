"""Measures redispool side by side with its peers, and prints ratios.

    python scripts/bench.py                  a private Valkey; about a minute
    python scripts/bench.py --quick          the same in less than 20 seconds, with a wider spread
    python scripts/bench.py --url redis://…  your own server; what it leaves there it removes at the end

Needs: pip install 'redispool[bench]'. All peers run by turns in one run, so that what else the machine
does meets them alike. A ratio above 1 says that redispool is the faster one, unless its target is an upper bound.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack
from pathlib import Path

import redis
from benchmark import contended, labels, scale, uncontended
from benchmark.report import Figure, document, table
from benchmark.server import private_server, swept_prefix
from benchmark.settings import QUICK, Settings
from rich.console import Console

MEASUREMENTS = {
    "uncontended": uncontended.measure,
    "contended": contended.measure,
    "scale": scale.measure,
    "labels": labels.measure,
}
# what the command line may set, beside what --quick sets
SIZES = {
    "rounds": int, "cycles": int, "contenders": int, "contended_rounds": int, "quota": int, "flat_out_seconds": float,
    "threads": int, "handoff_seconds": float, "accounts": int, "batches": int,
}  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="the server to measure; default: a private Valkey")
    parser.add_argument("--quick", action="store_true", help="less than 20 seconds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--only", choices=MEASUREMENTS, action="append", help="this measurement; may be repeated")
    for name, kind in SIZES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=f"default: {getattr(Settings, name, '')}")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    console = Console()
    sizes = {**(QUICK if given.quick else {}), **{n: v for n in SIZES if (v := getattr(given, n)) is not None}}
    figures: list[Figure] = []
    with ExitStack() as stack:
        url = given.url or stack.enter_context(private_server())
        settings = Settings(url, stack.enter_context(swept_prefix(url)), **sizes)
        start = time.monotonic()
        for name in given.only or MEASUREMENTS:
            with console.status(f"measuring: {name}"):
                figures += MEASUREMENTS[name](settings)
        console.print(table(figures), f"{time.monotonic() - start:.0f} seconds")
        if given.json is not None:
            with redis.Redis.from_url(url) as client:
                given.json.write_text(json.dumps(document(figures, settings, client), indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
