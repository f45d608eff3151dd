"""A telnet server that refuses a login to an account while another one is in progress: the outside judge."""

from __future__ import annotations

import socketserver
import threading
import time
from collections import Counter
from contextlib import suppress


class TelnetJudge:
    """Listens on a loopback port of its own; a login lasts `seconds`, like one at a slow TACACS server.

    `logins` counts the logins of each account, `refusals` those that came while one was in progress, and `wrong`
    those with a wrong password.
    """

    def __init__(self, passwords, seconds=0.0):
        self.passwords = dict(passwords)
        self.seconds = seconds
        self.logins, self.refusals, self.wrong = Counter(), Counter(), Counter()
        self.in_progress = set()
        self.lock = threading.Lock()
        self.server = _Server(("127.0.0.1", 0), _Session)
        self.server.judge = self
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def begin(self, name):
        with self.lock:
            if name in self.in_progress:
                self.refusals[name] += 1
                return False
            self.in_progress.add(name)
            return True

    def end(self, name, passed):
        with self.lock:
            self.in_progress.discard(name)
            (self.logins if passed else self.wrong)[name] += 1


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Session(socketserver.StreamRequestHandler):
    def ask(self, prompt):
        with suppress(OSError):  # a client that gave up is like one that says nothing
            self.wfile.write(prompt)
            line = bytearray()
            while (byte := self.rfile.read(1)) not in {b"", b"\r"}:
                line += byte
            return line.decode().strip()
        return ""

    def handle(self):
        judge = self.server.judge
        name = self.ask(b"Welcome\r\nUser: ")
        if not name:
            return
        if not judge.begin(name):
            self.ask(b"\r\n% Login failed: the account is in use\r\n")
            return
        passed = False
        try:
            passed = self.ask(b"\r\nPassword: ") == judge.passwords.get(name)
            time.sleep(judge.seconds)
        finally:
            judge.end(name, passed)
        answer = b"\r\njudge> " if passed else b"\r\n% Login failed: wrong password\r\n"
        while passed and self.ask(answer) not in {"", "exit"}:
            pass
        if not passed:
            self.ask(answer)
