"""A resource that knows fences refuses a holder who was frozen past his TTL."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from redispool import Account, AccountPool
from tests.conftest import wait_until

EXAMPLE = Path(__file__).parent.parent.parent / "scripts" / "examples" / "fencing.py"


def run_example(server, database):
    words = [sys.executable, str(EXAMPLE), str(database), "sw1", "--ttl=0.5"]
    environment = {**os.environ, "REDISPOOL_URL": server.url}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, env=environment, text=True, **pipes)


def stored(database):
    with sqlite3.connect(database) as connection:
        return connection.execute("SELECT text, fence FROM configs").fetchone()


def test_a_holder_that_was_frozen_past_its_ttl_is_refused_by_the_resource(own_server, tmp_path):
    server, database = own_server(), tmp_path / "configs.db"
    pool = AccountPool(Account("admin", "secret"), name="configurators", redis=server.url)
    frozen = run_example(server, database)
    wait_until(lambda: pool.status().held == 1)
    frozen.send_signal(signal.SIGSTOP)
    wait_until(lambda: pool.status().held == 0)  # its lease has ended, though it does not know

    prompt = run_example(server, database)
    assert prompt.communicate("what the second stores", timeout=20) == ("", "")
    assert prompt.returncode == 0
    assert stored(database) == ("what the second stores", 2)

    frozen.stdin.write("what the first had in mind")
    frozen.send_signal(signal.SIGCONT)
    _, said = frozen.communicate(timeout=20)
    assert frozen.returncode == 1
    assert said == "refused: fence 1 is older than that of what is stored for sw1\n"
    assert stored(database) == ("what the second stores", 2)


def test_the_same_holder_may_store_twice_and_a_later_one_after_it(own_server, tmp_path):
    server, database = own_server(), tmp_path / "configs.db"
    AccountPool(Account("admin", "secret"), name="configurators", redis=server.url)
    for text in ("first", "second"):
        one = run_example(server, database)
        assert one.communicate(text, timeout=20) == ("", "")
    assert stored(database) == ("second", 2)
