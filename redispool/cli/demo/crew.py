"""The demo's worker processes: started, listened to, killed, and sent home."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from queue import Empty, SimpleQueue
from typing import IO, TYPE_CHECKING

from redispool.cli.demo.worker import LINGER, Orders, Report

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

_PATIENCE = 5.0  # seconds for the workers to leave before they are killed


class Crew:
    """The workers, for use in a `with` block, after which none of them is left."""

    def __init__(self) -> None:
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._listeners: list[threading.Thread] = []
        self._reports: SimpleQueue[tuple[int, Report]] = SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def start(self, orders: Iterable[Orders]) -> None:
        """Start a process for each."""
        for one in orders:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "redispool.cli.demo.worker"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                start_new_session=True,  # a Ctrl-C at the terminal is for the demo, which sends them home
            )  # fmt: skip
            self._processes[one.number] = process
            self._tell(one.number, json.dumps(asdict(one)))
            listener = threading.Thread(target=self._listen, args=(one.number, process.stdout), daemon=True)
            self._listeners.append(listener)
            listener.start()

    def pid(self, number: int) -> int:
        """The id of the worker's process."""
        return self._processes[number].pid

    def next_report(self, seconds: float) -> tuple[int, Report] | None:
        """The number of a worker and what it reports; None when nobody does within so many seconds."""
        try:
            return self._reports.get(timeout=seconds)
        except Empty:
            return None

    def linger(self, number: int) -> None:
        """Let the worker stay logged in from its next login on."""
        self._tell(number, LINGER)

    def kill(self, number: int) -> None:
        """SIGKILL: the worker has no chance to give anything back."""
        self._processes[number].kill()
        self._processes[number].wait()

    def stop(self) -> None:
        """Send the workers home, and kill those that do not go."""
        processes = self._processes.values()
        try:
            for process in processes:
                with suppress(OSError):
                    process.stdin.close()  # type: ignore[union-attr]  # it is a pipe
            deadline = time.monotonic() + _PATIENCE
            for process in processes:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(deadline - time.monotonic(), 0.01))
        finally:
            for process in processes:
                process.kill()
                process.wait()
            for listener in self._listeners:
                listener.join(1.0)

    def _tell(self, number: int, line: str) -> None:
        stream = self._processes[number].stdin
        with suppress(OSError):  # it is gone; that shows elsewhere
            stream.write(line + "\n")  # type: ignore[union-attr]  # it is a pipe
            stream.flush()  # type: ignore[union-attr]

    def _listen(self, number: int, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                try:
                    report = Report(**json.loads(line))
                except (ValueError, TypeError):  # Python's own last words
                    report = Report("failed", text=line.strip())
                self._reports.put((number, report))
        self._reports.put((number, Report("gone")))
