"""A process that shares a pool, and does step by step what the test tells it, by lines on its standard input."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from typing import Any

COMMANDS = ("acquire", "take", "tell", "call", "release", "renew", "lost", "contend", "fork")


class Worker:
    """The test's end: sends commands, and reads the answers."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        words = [sys.executable, "-m", "tests.faults.worker", url, json.dumps(options)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        assert self.answer() == {"ready": self.process.pid}

    def _read(self) -> None:
        for line in self.process.stdout:
            self._answers.put(line)

    def send(self, command: str, **arguments: Any) -> None:
        """Tell it to do something; do not wait for it."""
        self.process.stdin.write(json.dumps([command, arguments]) + "\n")
        self.process.stdin.flush()

    def answer(self, seconds: float = 20) -> Any:
        """What it answered to the next of the commands that were sent."""
        return json.loads(self._answers.get(timeout=seconds))

    def do(self, command: str, **arguments: Any) -> Any:
        """Tell it to do something, and wait for the answer."""
        self.send(command, **arguments)
        return self.answer()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL: it has no chance to clean up."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def _describe(account: Any) -> dict[str, Any]:
    lease = account.lease
    return {"name": account.name, "token": lease.token, "fence": lease.fence, "owner": lease.owner, "at": time.time()}


class Work:
    """The worker's end."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        from redispool import AccountPool

        self.pool = AccountPool(redis=url, **options)
        self.url = url
        self.held: list[Any] = []

    def acquire(self, **arguments: Any) -> Any:
        """Acquire an account, and hold it."""
        account = self.pool.acquire_account(**arguments)
        self.held.append(account)
        return _describe(account)

    def take(self, method: str, **arguments: Any) -> Any:
        """Acquire by another method of the pool, and hold what it gives."""
        found = getattr(self.pool, method)(**arguments)
        accounts = found if isinstance(found, list) else [found]
        self.held += accounts
        return [_describe(account) for account in accounts]

    def tell(self, method: str, **arguments: Any) -> Any:
        """Call a method of the account that was acquired first, which it keeps."""
        getattr(self.held[0], method)(**arguments)
        return "told"

    def call(self, method: str, **arguments: Any) -> Any:
        """Call a method of the pool; what it gives, as text."""
        return str(getattr(self.pool, method)(**arguments))

    def release(self) -> Any:
        """Release the account that was acquired first."""
        self.held.pop(0).release()
        return "released"

    def renew(self) -> Any:
        """Renew the lease of the account that was acquired first."""
        self.held[0].lease.renew()
        return "renewed"

    def lost(self) -> Any:
        """Whether its leases are lost."""
        return [account.lease is None or account.lease.lost for account in self.held]

    def contend(self, threads: int, cycles: int) -> Any:
        """Take and release accounts in many threads; how often somebody else had the same account meanwhile."""
        import redis

        judge = redis.Redis.from_url(self.url)
        twice: list[str] = []

        def cycle() -> None:
            for _ in range(cycles):
                with self.pool.lease(timeout=60) as account:
                    seat = f"judge:{self.pool.name}:{account.name}"
                    if judge.incr(seat) != 1:
                        twice.append(account.name)
                    judge.decr(seat)

        contenders = [threading.Thread(target=cycle) for _ in range(threads)]
        for one in contenders:
            one.start()
        for one in contenders:
            one.join()
        return {"twice": twice, "cycles": threads * cycles}

    def fork(self) -> Any:
        """Fork while holding an account; what the child could do with it, and with one of its own."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.write(writing, json.dumps(self.as_child()).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            report = json.load(pipe)
        os.waitpid(child, 0)
        return report

    def as_child(self) -> Any:
        report: dict[str, Any] = {}
        account = self.held[0]
        for name, action in (("release", account.release), ("renew", account.lease.renew)):
            try:
                action()
            except Exception as error:
                report[name] = type(error).__name__
            else:
                report[name] = "done"
        with self.pool.lease(timeout=5) as own:
            end = own.lease.expires_at
            limit = time.monotonic() + 5
            while own.lease.expires_at <= end and time.monotonic() < limit:
                time.sleep(0.01)
            report["own"] = {"name": own.name, "renewed": own.lease.expires_at > end, "lost": own.lease.lost}
        return report


def main() -> None:
    def answer(value: Any) -> None:
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()

    work = Work(sys.argv[1], json.loads(sys.argv[2]))
    answer({"ready": os.getpid()})
    for line in sys.stdin:
        command, arguments = json.loads(line)
        assert command in COMMANDS
        try:
            answer(getattr(work, command)(**arguments))
        except (Exception, KeyboardInterrupt) as error:
            answer({"error": type(error).__name__, "text": str(error)})


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
