"""Store a device's configuration so that a worker who was frozen past his lease does not undo what the next has stored.

    REDISPOOL_URL=redis://redis.example.net python fencing.py configs.db sw1 < sw1.cfg

No lock service can keep a process from going on after it was stopped, swapped out or cut off for longer than its TTL.
The resource can: each grant of a pool has a fence, a number that only grows, and the table refuses one that is older
than the last it saw. All that it takes is one more column and one more condition.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys

from redispool import AccountPool

TABLE = "CREATE TABLE IF NOT EXISTS configs (device TEXT PRIMARY KEY, text TEXT, fence INTEGER)"
STORE = """
INSERT INTO configs VALUES (?, ?, ?) ON CONFLICT (device) DO UPDATE
SET text = excluded.text, fence = excluded.fence WHERE excluded.fence >= configs.fence
"""


class StaleFence(Exception):  # noqa: N818 - it says what is wrong
    """Somebody who was granted an account later has been here."""


def store(path: str, device: str, text: str, fence: int) -> None:
    """Store a configuration. Raises StaleFence, and changes nothing, if a later holder has stored one."""
    with sqlite3.connect(path) as database:
        database.execute(TABLE)
        if not database.execute(STORE, (device, text, fence)).rowcount:
            raise StaleFence(f"fence {fence} is older than that of what is stored for {device}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database")
    parser.add_argument("device")
    parser.add_argument("--ttl", type=float, default=60.0, help="seconds")
    given = parser.parse_args()
    try:
        with AccountPool(name="configurators", ttl=given.ttl).lease(timeout=60) as account:
            text = sys.stdin.read()  # whatever takes its time, and may take too long
            store(given.database, given.device, text, account.lease.fence)
    except StaleFence as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
