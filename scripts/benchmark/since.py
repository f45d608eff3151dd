"""The scripts of this tree against those of another commit: server time of a cycle, alone and where one waits.

Each tree's own client says what it sends; that is sent again and again over one socket, by turns, each time with a
token of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

from benchmark.report import Figure, figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmark.settings import Settings

_KINDS = ("nobody waits", "handed over to one who waits")
_HERE = Path(__file__).parent.parent.parent
_RECORDER = """
import json, sys
from redispool import Account, AccountPool, drivers
from redispool.protocol.commands import Call
calls = []
perform = drivers.Wire.perform
def recorded(wire, command):
    if isinstance(command, Call):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in command.arguments]
        calls.append((command.script.text, command.key, [word.hex() for word in words]))
    return perform(wire, command)
url, namespace, name = sys.argv[1:]
pool = AccountPool([Account(f"account-{n}", "x" * 40) for n in range(10)], name=name, namespace=namespace, redis=url)
pool.acquire_account(owner="worker").release()  # the first contact checks more
AccountPool([Account("account-0", "x" * 40)], name=name + "-1", namespace=namespace, redis=url)
drivers.Wire.perform = recorded
handle = pool.acquire_account(owner="worker")
token = handle.lease.token
handle.release()
json.dump({"token": token, "acquire": calls[0], "release": calls[1]}, sys.stdout)
"""


class _Side:
    """One tree's scripts, as its client calls them.

    Args:
        label: how it is called in the table.
        tree: where its source is.
        settings: of the run.
        client: has one connection, and sends what it is told.
    """

    def __init__(self, label: str, tree: Path, settings: Settings, client: redis.Redis) -> None:
        self.label = label
        self._client = client
        name = f"{settings.prefix}:{label}"
        words = [sys.executable, "-c", _RECORDER, settings.url, settings.prefix, name]
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}
        )
        if done.returncode:
            raise SystemExit(f"the client of {label} cannot be run:\n{done.stderr}")
        recorded = json.loads(done.stdout)
        self._token = recorded["token"].encode()
        self._calls = {kind: self._prepared(*recorded[kind]) for kind in ("acquire", "release")}

    def _prepared(self, text: str, key: str, words: list[str]) -> tuple[str, str, list[bytes]]:
        return self._client.script_load(text), key, [bytes.fromhex(word) for word in words]

    def call(self, kind: str, token: bytes, pool: str = "") -> Any:
        """Run a script with a token of our own, in the pool whose name ends so."""
        sha, key, words = self._calls[kind]
        key = key.replace("}:", f"{pool}}}:")
        return self._client.evalsha(sha, 1, key, *(word.replace(self._token, token) for word in words))


def measure(settings: Settings, commit: str) -> list[Figure]:
    """Microseconds of a cycle in scripts: ours, theirs, and the ratio of each round."""
    costs: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="redispool-since-") as folder:
        _extract(commit, Path(folder))
        # redis-py would read some replies as it likes, but not those of scripts
        with redis.Redis.from_url(settings.url, single_connection_client=True) as client:
            sides = [
                _Side("this tree", _HERE, settings, client), _Side(commit, Path(folder), settings, client)
            ]  # fmt: skip
            for number in range(4 * settings.rounds):  # they are short
                for side in sides if number % 2 else reversed(sides):
                    for kind, cost in _sample(side, number, settings.cycles, client):
                        costs.setdefault((side.label, kind), []).append(cost)
    ours, theirs = (side.label for side in sides)
    return [one for kind in _KINDS for one in _figures(kind, ours, theirs, costs)]


def _figures(kind: str, ours: str, theirs: str, costs: dict[tuple[str, str], list[float]]) -> list[Figure]:
    group = f"server time in scripts, {kind}"
    ratios = [a / b for a, b in zip(costs[ours, kind], costs[theirs, kind], strict=True)]
    return [
        *(figure(group, label, costs[label, kind], "µs") for label in (ours, theirs)),
        figure(group, f"{ours} over {theirs}, in each round", ratios),
        # what disturbs a round makes it longer
        figure(
            group, f"{ours} over {theirs}, their quickest rounds", [min(costs[ours, kind]) / min(costs[theirs, kind])]
        ),
    ]


def _extract(commit: str, folder: Path) -> None:
    done = subprocess.run(["git", "-C", str(_HERE), "archive", commit, "redispool"], check=False, capture_output=True)
    if done.returncode:
        raise SystemExit(done.stderr.decode())
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")


def _sample(side: _Side, number: int, cycles: int, client: redis.Redis) -> Iterator[tuple[str, float]]:
    before = _microseconds(client)
    for cycle in range(cycles):
        token = b"token:%d:%d" % (number, cycle)
        _expect(b"granted", side.call("acquire", token))
        _expect(1, side.call("release", token))
    yield _KINDS[0], (_microseconds(client) - before) / cycles
    holder = b"token:%d:first" % number
    _expect(b"granted", side.call("acquire", holder, "-1"))
    before = _microseconds(client)
    for cycle in range(cycles):
        waiter = b"waiter:%d:%d" % (number, cycle)
        _expect(b"waiting", side.call("acquire", waiter, "-1"))
        _expect(1, side.call("release", holder, "-1"))
        holder = waiter
    yield _KINDS[1], (_microseconds(client) - before) / cycles
    _expect(1, side.call("release", holder, "-1"))


def _microseconds(client: redis.Redis) -> int:
    return int(client.info("commandstats")["cmdstat_evalsha"]["usec"])


def _expect(first: object, reply: list[Any]) -> None:
    if reply[0] != first:
        raise SystemExit(f"a script answered {reply!r}, where {first!r} was to be expected")
