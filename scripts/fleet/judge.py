"""The judge: a process of its own that writes down what the fleet tells it, and what the pool's audit trail tells.

It uses nothing of redispool. What it writes is judged afterwards, see verdict.py.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from typing import TextIO

import redis

STALL = 0.2  # seconds
ROUGH = 0.05  # seconds


class Record:
    """A file of lines that two threads write."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._writing = threading.Lock()

    def add(self, line: str) -> None:
        with self._writing:
            self._out.write(line + "\n")


def follow_trail(url: str, stream: str, record: Record) -> None:
    """Write down every event of the pool's audit trail; a server that is gone is asked again.

    When one happened says its id, which is of a clock that may be set, and so is believed only as far as it agrees
    with when we looked. A trail that got shorter was lost, and is read anew.
    """
    client = redis.Redis.from_url(url, socket_timeout=5, decode_responses=True)
    last, seen, length, looked = "-", set(), 0, time.monotonic()
    while True:
        began = time.monotonic()
        try:
            with client.pipeline() as pipeline:
                pipeline.time()
                pipeline.xrange(stream, last if last == "-" else f"({last}", "+", 2000)
                pipeline.exists(stream)
                (seconds, micros), page, there = pipeline.execute()
                added = client.xinfo_stream(stream)["entries-added"] if there else 0
        except (redis.RedisError, OSError):
            time.sleep(0.05)
            continue
        if added < length:
            last, length = "-", added
            continue
        length, clock = added, seconds + micros / 1e6 - (began + time.monotonic()) / 2
        for entry, fields in page:
            last = entry
            if (entry, *fields.values()) in seen:  # an id alone may come again, if the clock was set and the trail lost
                continue
            seen.add((entry, *fields.values()))
            told = int(entry.partition("-")[0]) / 1000 - clock
            at = min(max(told, looked), time.monotonic())
            for what, words in fields.items():
                account, owner, fence, *_ = words.split("\n")
                line = {
                    "event": "trail", "at": at, "what": what, "account": account, "owner": owner, "fence": int(fence),
                    "rough": abs(at - told) > ROUGH,
                }  # fmt: skip
                record.add(json.dumps(line))
        if len(page) < 2000:
            looked = began
            time.sleep(0.2)


def feel_pulse(url: str, record: Record) -> None:
    """Write down when the server did not answer at once, whatever the reason: nobody can be served meanwhile."""
    client = redis.Redis.from_url(url, socket_timeout=30)
    while True:
        start = time.monotonic()
        try:
            client.ping()
        except (redis.RedisError, OSError):
            time.sleep(0.02)
        end = time.monotonic()
        if end - start > STALL:
            record.add(json.dumps({"event": "stall", "at": end, "start": start}))
        time.sleep(0.05)


def main(path: str, record: str, url: str, stream: str) -> None:
    """Listen on a socket, and write to a file, until terminated.

    Args:
        path: the socket.
        record: the file.
        url: the server, by the straight way.
        stream: the pool's audit trail.
    """
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ear.bind(path)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(record, "w", encoding="utf-8", buffering=1 << 16) as out:  # noqa: PTH123
        lines = Record(out)
        threading.Thread(target=follow_trail, args=(url, stream, lines), daemon=True).start()
        threading.Thread(target=feel_pulse, args=(url, lines), daemon=True).start()
        while True:
            message = ear.recv(65536)
            if message == b"done":
                time.sleep(0.5)  # for the trail's last page
                out.flush()
                os._exit(0)
            lines.add(message.decode())
