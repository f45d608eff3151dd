"""The example for shell scripts, run as its users would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from redispool import Account, AccountPool

SCRIPT = Path(__file__).parents[2] / "scripts" / "examples" / "with_account.sh"


def test_a_shell_script_reports_on_each_host_by_the_account_whose_turn_it_is(server, pool_name):
    pool = AccountPool([Account("alice", "secret"), Account("bob", "hunter2")], name=pool_name, redis=server.url)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "REDISPOOL_URL": server.url, "PATH": path}
    done = subprocess.run(
        [SCRIPT, pool_name, "sw1", "sw2", "sw3"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "sw1: reported by alice, with a password of 6 characters",
        "sw2: reported by bob, with a password of 7 characters",
        "sw3: reported by alice, with a password of 6 characters",
    ]
    assert "secret" not in done.stdout + done.stderr
    assert pool.status().held == 0
