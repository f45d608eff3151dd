"""Lets a fleet of processes share a pool while what may go wrong does, and has an outside judge say what came of it.

    python scripts/chaos.py                         a minute, of seed 1
    python scripts/chaos.py --minutes 30 --seed 7   the same seed: the same faults at the same times
    python scripts/chaos.py --json verdict.json     the verdict in full; --keep DIR keeps the judge's record

It starts a Valkey of its own, with an append-only file that is synced at every write. The exit status is 1 if an
account was used twice within valid leases, lost, or anything else happened that must not.
Needs: pip install 'redispool[test]'; and libfaketime (apt-get install faketime), else no clock is set.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from fleet import judge, verdict  # noqa: E402 - they are found since now
from fleet.faults import schedule  # noqa: E402 - they are found since now
from fleet.injector import Fleet  # noqa: E402 - they are found since now
from fleet.record import read  # noqa: E402 - they are found since now
from rich.console import Console  # noqa: E402 - they are found since now
from rich.table import Table  # noqa: E402 - they are found since now

from redispool import Account, AccountPool  # noqa: E402 - they are found since now
from tests.faults.proxy import Proxy  # noqa: E402 - they are found since now
from tests.servers import FAKETIME, ClockedServer, Server  # noqa: E402 - they are found since now

POOL = "chaos"
LATEST = 15.0  # seconds after which an account that did not come back in the end is lost


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=2.2, help="faults a second")
    parser.add_argument("--workers", type=int, default=10, help="processes")
    parser.add_argument("--accounts", type=int, default=8)
    parser.add_argument("--ttl", type=float, default=1.5, help="seconds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the verdict there, too")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the judge's record there")
    return parser.parse_args()


def run(given: argparse.Namespace, server: Server, folder: Path) -> verdict.Verdict:
    """Let it happen, and judge it."""
    sessions = {f"a{n}": 1 for n in range(1, given.accounts)} | {"seats": 2}
    pool = AccountPool(name=POOL, redis=server.url)

    def fill() -> None:
        pool.configure(history=200_000)
        pool.add_account([Account(name, "secret", max_sessions=count) for name, count in sessions.items()])

    fill()
    ear, record = str(folder / "judge"), folder / "record.jsonl"
    listening = multiprocessing.get_context("spawn").Process(
        target=judge.main, args=(ear, str(record), server.url, f"redispool:{{{POOL}}}:events"), daemon=True
    )
    listening.start()
    while not os.path.exists(ear):  # noqa: PTH110 - it is a socket
        time.sleep(0.01)
    proxy = Proxy(server)
    fleet = Fleet(server, proxy, ear, POOL, given.ttl, given.seed)
    fleet.accounts, fleet.fill = tuple(sessions), fill
    fleet.teller.tell("start", ttl=given.ttl)
    try:
        wreak(given, fleet)
    finally:
        for process in fleet.processes:
            process.kill()
            process.join()
    lost, disagreements = take_stock(pool, sessions)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
        last.sendto(b"done", ear)
    listening.join()
    proxy.close()
    return verdict.judge(read(record), sessions, lost, disagreements)


def wreak(given: argparse.Namespace, fleet: Fleet) -> None:
    """Do what the seed says, for as long as was asked for."""
    fleet.start(given.workers)
    began = time.monotonic()
    for fault in schedule(given.seed, given.rate, fleet.kinds, given.ttl):
        if fault.at > given.minutes * 60:
            break
        fleet.until(began + fault.at)
        fleet.ensure_all_live()
        fleet.inject(fault)
    fleet.until(began + given.minutes * 60)
    fleet.settle()
    fleet.teller.tell("over")


def longest_lock(pool: AccountPool) -> float:
    """Seconds that a lock may still last, which are many where the server's clock was set back."""
    status = pool.status()
    return max((lease.expires_at - status.at for lease in status.leases), default=0.0)


def take_stock(pool: AccountPool, sessions: dict[str, int]) -> tuple[int, list[str]]:
    """When all are dead, every seat must be there to be had: how many were not, and what the audit found."""
    end, found = time.monotonic() + LATEST + longest_lock(pool), 0
    while found < sum(sessions.values()) and time.monotonic() < end:
        try:
            pool.acquire_account(owner="stock", timeout=max(end - time.monotonic(), 0))
        except TimeoutError:
            break
        found += 1
    disagreements = [str(one) for one in pool.audit()]
    pool.release_accounts("stock")
    while (free := pool.status().free) < found and time.monotonic() < end:
        time.sleep(0.05)  # the last forked child is at its last errand
    disagreements += [str(one) for one in pool.audit()] + (
        [f"{free} seats are free in the end"] if free != found else []
    )
    return sum(sessions.values()) - found, disagreements


def show(found: verdict.Verdict, console: Console) -> None:
    """Print the verdict."""
    table = Table("what", "figure", title="passed" if found.passed else "FAILED")
    for name, value in found.document().items():
        text = ", ".join(f"{key} {n}" for key, n in value.items()) if isinstance(value, dict) else str(value)
        table.add_row(name.replace("_", " "), f"{value:.3f}" if isinstance(value, float) else text)
    console.print(table)


def main() -> int:
    given = arguments()
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])  # for the server that forks the workers
    folder = Path(tempfile.mkdtemp(prefix="redispool-chaos-"))
    options = {"appendonly": "yes", "appendfsync": "always", "enable_debug_command": "yes"}
    server = ClockedServer(**options) if FAKETIME else Server("valkey", **options)
    try:
        found = run(given, server, folder)
        if given.keep:
            shutil.copytree(folder, given.keep, ignore=shutil.ignore_patterns("judge"), dirs_exist_ok=True)
    finally:
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)
    show(found, Console())
    if given.json:
        given.json.write_text(json.dumps(found.document(), indent=2), encoding="utf-8")
    return 0 if found.passed else 1


if __name__ == "__main__":
    sys.exit(main())
