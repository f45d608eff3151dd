"""The benchmark runs, and tells all its figures; what they are is nobody's promise here."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("redis_lock", reason="a peer is missing: pip install 'redispool[bench]'")
pytest.importorskip("redis_semaphore", reason="a peer is missing: pip install 'redispool[bench]'")

SCRIPT = Path(__file__).parent.parent / "scripts" / "bench.py"
TINY = (
    "--rounds=2", "--cycles=10", "--contenders=3", "--contended-rounds=1", "--quota=2", "--flat-out-seconds=0.1",
    "--threads=2", "--handoff-seconds=0.3", "--accounts=300", "--batches=2",
)  # fmt: skip
PEERS = {
    "redis-py Lock",
    "two trivial EVALSHA",
    "SET NX + compare-and-delete",
    "python-redis-lock",
    "py-redis-semaphore",
}
CONTENDING = {"python-redis-lock", "py-redis-semaphore", "redis-py Lock"}
BLOCKING = {"redispool", "python-redis-lock", "py-redis-semaphore"}
FIGURES = {
    "uncontended: speed against": PEERS,
    "uncontended: cost in two trivial EVALSHA": {
        "server time in scripts", "server CPU, network included", "client CPU",
    },
    "uncontended: one cycle of redispool": {
        "script calls", "commands within the scripts", "wall time", "client CPU", "server time in scripts",
        "the same of two trivial EVALSHA",
    },
    "3 contenders, 2 turns each: speed against": CONTENDING,
    "3 contenders, as many turns as they get: speed against": CONTENDING,
    "turns that went to another contender": CONTENDING | {"redispool"},
    "hand-off to one of 6 waiters at rest, p50 in round trips from rest": BLOCKING,
    "hand-off to one of 6 waiters at rest, p99 in round trips from rest": BLOCKING,
    "hand-off to one of 6 waiters at rest, p99 in round trips without rest": {"redispool"},
    "Jain's index over 6 waiters": BLOCKING,
    "server time per script, 300 accounts against 10": {"acquire", "release"},
    "adding accounts in bulk": {"300 accounts", "accounts in a second"},
    "server time by labels, 300 accounts in 3 sets against 10 in 1": {
        "acquire", "release", "acquire, microseconds", "release, microseconds",
    },
    "labels asked for the first time": {"seconds", "server seconds", "script calls"},
}  # fmt: skip


def bench(*words: str) -> str:
    command = [sys.executable, str(SCRIPT), "--quick", *words]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=100, env={**os.environ, "COLUMNS": "120"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_quick_run_prints_and_writes_every_figure(tmp_path):
    file = tmp_path / "figures.json"
    printed = bench(*TINY, f"--json={file}")
    document = json.loads(file.read_text())
    found: dict[str, set[str]] = {}
    for figure in document["figures"]:
        found.setdefault(figure["group"], set()).add(figure["name"])
        assert math.isfinite(figure["median"])
        assert figure["low"] <= figure["median"] <= figure["high"]
    assert found == FIGURES
    assert all(group in printed for group in FIGURES)
    assert document["server"]["version"]
    assert document["settings"]["accounts"] == 300


def test_an_uncontended_cycle_is_one_script_call_to_acquire_and_one_to_release(tmp_path):
    file = tmp_path / "figures.json"
    bench(*TINY, "--only=uncontended", f"--json={file}")
    figures = {(one["group"], one["name"]): one for one in json.loads(file.read_text())["figures"]}
    calls = figures["uncontended: one cycle of redispool", "script calls"]
    assert calls["low"] == calls["median"] == calls["high"] == 2


def test_a_run_on_the_users_own_server_leaves_nothing_behind(own_server, tmp_path):
    server = own_server("valkey")
    file = tmp_path / "figures.json"
    bench(*TINY, f"--url={server.url}", f"--json={file}")
    with server.client() as client:
        assert client.keys() == []
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] > 0
    assert server.url not in file.read_text()
