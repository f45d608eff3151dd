"""The benchmark runs, and tells all its figures; what they are is nobody's promise here."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

for module in ("redis_lock", "redis_semaphore", "pottery", "Exscript", "matplotlib"):
    pytest.importorskip(module, reason="something is missing: pip install 'redispool[bench]'")

ROOT = Path(__file__).parent.parent
TINY = (
    "--rounds=2", "--cycles=10", "--contenders=3", "--spreads=3,1", "--contended-rounds=1", "--quota=2",
    "--flat-out-rounds=1", "--flat-out-seconds=0.1", "--waiters=6", "--handoff-rounds=1", "--handoff-seconds=0.3",
    "--crowds=2,8", "--crowd-accounts=1,2", "--crowd-seconds=0.2", "--pool-sizes=10,300", "--batches=2",
    "--accounts=300", "--queue-sizes=10", "--lease-sizes=100", "--memory-accounts=300", "--memory-leases=50",
    "--memory-waiters=50", "--memory-threads=5", "--task-counts=1,10", "--task-cycles=20", "--task-waiters=100",
    "--storm=5", "--batch-sizes=5", "--batch-rounds=1", "--cluster-pools=3", "--cluster-rounds=1",
    "--cluster-cycles=2", "--stripes=2", "--striped-accounts=3", "--striped-workers=4", "--striped-seconds=0.2",
)  # fmt: skip
PEERS = {
    "redis-py Lock", "two trivial EVALSHA", "SET NX + compare-and-delete", "python-redis-lock", "py-redis-semaphore",
    "pottery Redlock", "Exscript's pool, in one process",
}  # fmt: skip
CONTENDING = {"python-redis-lock", "py-redis-semaphore", "redis-py Lock", "pottery Redlock"}
BLOCKING = {"redispool", "python-redis-lock", "py-redis-semaphore"}
CROWDS = {"2 threads of 2 processes", "8 tasks of 3 processes"}
TASKS = {"1 tasks at one time", "10 tasks at one time"}
WAYS = {"acquire_accounts", "acquire_account, pipelined by asyncio"}
FIGURES = {
    "uncontended: speed against": PEERS,
    "uncontended: cost in two trivial EVALSHA": {
        "server time in scripts", "server CPU, network included", "client CPU",
    },
    "uncontended: one cycle of redispool": {
        "script calls", "commands within the scripts", "wall time", "client CPU", "server CPU",
        "server CPU of two trivial EVALSHA", "server time in scripts", "time in scripts of two trivial EVALSHA",
        "bytes to the server", "bytes from the server",
    },
    "3 contenders in 3 processes, 2 turns each: speed against": CONTENDING,
    "3 contenders in 1 process, 2 turns each: speed against": CONTENDING,
    "3 contenders, as many turns as they get: speed against": CONTENDING,
    "turns that went to another contender": CONTENDING | {"redispool"},
    "hand-off to one of 6 waiters at rest, p50 in round trips from rest": BLOCKING,
    "hand-off to one of 6 waiters at rest, p99 in round trips from rest": BLOCKING,
    "hand-off to one of 6 waiters at rest, p99 in round trips without rest": {"redispool"},
    "Jain's index over 6 waiters": BLOCKING,
    "longest wait over the mean, 6 waiters": BLOCKING,
    "accounts: 1; turns a second": CROWDS,
    "accounts: 1; hand-off, p50": CROWDS,
    "accounts: 1; hand-off, p99": CROWDS,
    "accounts: 2; turns a second": CROWDS,
    "accounts: 2; hand-off, p50": {"8 tasks of 3 processes"},
    "accounts: 2; hand-off, p99": {"8 tasks of 3 processes"},
    "asyncio, no task waits: cycles a second": TASKS,
    "asyncio, no task waits: client CPU of a cycle": TASKS,
    "asyncio, no task waits: server CPU of a cycle": TASKS,
    "100 asyncio tasks that wait for 50 accounts": {
        "connections", "memory of their process", "memory of a task", "turns a second, once they are free",
    },
    "5 processes start at once, for 8 accounts": {
        "that had their turn", "seconds until the median one had its account", "seconds until the last one had it",
        "server CPU of a process, its connections included",
    },
    "5 accounts at once: speed against one by one": WAYS,
    "5 accounts at once: server CPU saved against one by one": WAYS,
    "the server's memory": {
        "of an idle account, by 300 of them", "of a lease, each of an owner of its own, by 50 of them",
        "of a waiting task, by 50 of them", "of a waiting thread, its connection included, by 5 of them",
    },
    "the server's memory of an idle account, by 300 of them: by key": {
        "accounts", "hashes", "places", "members", "rotation",
    },
    "connections": {"of 5 threads that wait in one process"},
    "server time, 300 accounts against 10": {
        "CPU of a cycle, network included", "script that acquires", "script that releases",
    },
    "adding 300 accounts in bulk": {"seconds", "accounts in a second"},
    "server time of the scripts in a cycle beside waiters": {"none waiting", "10 waiting, against none"},
    "server time of the scripts in a cycle beside leases": {"none leased", "100 leased, against none"},
    "server time by labels, 300 accounts in 3 sets against 10 in 1": {
        "acquire", "release", "acquire, microseconds", "release, microseconds",
    },
    "labels asked for the first time": {"seconds", "server seconds", "script calls"},
    **{
        f"4 workers, 3 accounts in {stripes}": {
            "Jain's index", "longest wait over the mean", "waits overtaken by one who came later", "turns a second",
            "server CPU of a turn",
        }
        for stripes in ("1 stripe", "2 stripes")
    },
    "one waits at one of 2 stripes, an account comes free at another": {"it is idle", "and at the longest"},
    "3 primaries against one, 3 pools, by their CPU": {
        "CPU of a cycle, of all together", "share of the busiest", "cycles until the busiest has used a second of CPU",
        "one primary: CPU of a cycle",
    },
}  # fmt: skip


def bench(*words: str) -> str:
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), *TINY, *words]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=110, env={**os.environ, "COLUMNS": "140"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_group(document):
    found: dict[str, dict[str, dict]] = {}
    for figure in document["figures"]:
        found.setdefault(figure["group"], {})[figure["name"]] = figure
    return found


def test_a_run_on_the_users_own_server_tells_every_figure_and_leaves_nothing_behind(own_server, tmp_path):
    server = own_server("valkey")
    file, plot = tmp_path / "figures.json", tmp_path / "figures.svg"
    printed = bench(f"--url={server.url}", f"--json={file}", f"--plot={plot}")
    document = json.loads(file.read_text())
    found = by_group(document)
    assert {group: set(figures) for group, figures in found.items()} == FIGURES
    for figure in document["figures"]:
        assert math.isfinite(figure["median"]), figure
        assert figure["low"] <= figure["median"] <= figure["high"]
    assert all(group in printed for group in FIGURES)
    assert "what was to be reached" in printed
    assert document["server"]["version"]
    assert document["settings"]["accounts"] == 300
    assert server.url not in file.read_text()
    calls = found["uncontended: one cycle of redispool"]["script calls"]
    assert calls["low"] == calls["median"] == calls["high"] == 2  # one to acquire and one to release
    assert found["5 processes start at once, for 8 accounts"]["that had their turn"]["median"] == 5
    assert "pottery Redlock" in "".join(ET.parse(plot).getroot().itertext())
    with server.client() as client:
        assert client.keys() == []
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] > 0


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="there are no other commits here")
def test_scripts_are_compared_with_those_of_another_commit(tmp_path):
    file = tmp_path / "figures.json"
    bench("--since=HEAD", f"--json={file}")
    found = by_group(json.loads(file.read_text()))
    for what in ("nobody waits", "handed over to one who waits"):
        figures = found[f"server time in scripts, {what}"]
        assert set(figures) == {
            "this tree", "HEAD", "this tree over HEAD, in each round", "this tree over HEAD, their quickest rounds",
        }  # fmt: skip
        assert all(figure["median"] > 0 for figure in figures.values())
