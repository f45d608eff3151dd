"""Workers of task queues in processes of their own, for the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil


class Worker:
    """`python -m WORDS`, and the processes that it starts.

    Args:
        words: the module, and its arguments.
        settings: what is added to its environment.
        ready: what it writes when it is ready.
    """

    def __init__(self, words, settings, ready):
        self.log = Path(tempfile.mkstemp(prefix="worker-", suffix=".log")[1])
        self.ready = ready
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *words], stdout=log, stderr=log, env={**os.environ, **settings}
            )

    def text(self):
        return self.log.read_text(errors="replace")

    def is_ready(self):
        assert self.process.poll() is None, self.text()
        return self.ready in self.text()

    def children(self):
        """The ids of the processes that do the work."""
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
        process = psutil.Process(self.process.pid)
        for one in [*process.children(recursive=True), process]:
            one.send_signal(signal.SIGKILL)
        self.process.wait()

    def remove(self):
        if self.process.poll() is None:
            self.kill()
        self.log.unlink(missing_ok=True)


class CeleryWorker(Worker):
    """A worker of Celery's with its pool of processes, threads or greenlets."""

    def __init__(self, app, settings, *, pool="prefork", concurrency=4):
        words = ["celery", "-A", app, "worker", "-P", pool, "-c", str(concurrency), "-l", "INFO"]
        words += ["--without-gossip", "--without-mingle", "-n", f"w{id(self)}@%h"]
        super().__init__(words, settings, " ready.")
