"""Celery workers in processes of their own, for the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil


class CeleryWorker:
    """A worker with its pool of processes, threads or greenlets; it has said that it is ready."""

    def __init__(self, app, settings, *, pool="prefork", concurrency=4, options=()):
        self.log = Path(tempfile.mkstemp(prefix="celery-", suffix=".log")[1])
        words = [sys.executable, "-m", "celery", "-A", app, "worker", "-P", pool, "-c", str(concurrency), "-l", "INFO"]
        words += ["--without-gossip", "--without-mingle", "-n", f"w{id(self)}@%h", *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, **settings})

    def text(self):
        return self.log.read_text(errors="replace")

    def is_ready(self):
        assert self.process.poll() is None, self.text()
        return " ready." in self.text()

    def children(self):
        """The ids of the pool's processes."""
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self):
        """All of it at once."""
        for pid in [*self.children(), self.process.pid]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def remove(self):
        if self.process.poll() is None:
            self.kill()
        self.log.unlink(missing_ok=True)
