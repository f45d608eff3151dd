"""What the tests of queues do again and again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from Exscript import Host

ROOT = Path(__file__).parents[3]


def dummy(name, account=None):
    host = Host(f"dummy://{name}")
    host.set_account(account)
    return host


def held(pool):
    return sorted(lease.account for lease in pool.status().leases)


def run(queue, hosts, function, **options):
    queue.run(hosts, function, **options)
    queue.join()


def start_program(server, namespace, mode, port, *words):
    """A program with a queue of its own, as leader of a process group."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.integrations.exscript.queue_program",
         server.url, namespace, mode, str(port), *words],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
