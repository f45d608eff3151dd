"""A telnet server that refuses a login to an account while another one is in progress: the outside judge."""

from __future__ import annotations

import random
import socket
import socketserver
import threading
import time
from collections import Counter
from contextlib import suppress


class TelnetJudge:
    """Listens on a loopback port of its own; a login lasts `seconds`, like one at a slow TACACS server.

    `logins` counts the logins of each account, `refusals` those that came while one was in progress, and `wrong`
    those with a wrong password. The share `drops` of the connections is dropped, half of them while logging in, half
    right after; `dropped` counts them.
    """

    def __init__(self, passwords, seconds=0.0, drops=0.0):
        self.passwords = dict(passwords)
        self.seconds = seconds
        self.logins, self.refusals, self.wrong = Counter(), Counter(), Counter()
        self.drops, self.dice, self.dropped = drops, random.Random(11), Counter()
        self.in_progress = {}  # the connection that logs in, by the account
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

    def begin(self, name, connection):
        with self.lock:
            if name in self.in_progress and not is_gone(self.in_progress[name]):
                self.refusals[name] += 1
                return False
            self.in_progress[name] = connection
            return True

    def end(self, name, connection, counter):
        with self.lock:
            if self.in_progress.get(name) is connection:
                del self.in_progress[name]
            counter[name] += 1

    def fate(self):
        """When to drop a connection: at 'login', 'after' it, or never."""
        with self.lock:
            return self.dice.choice(["login", "after"]) if self.dice.random() < self.drops else None


def is_gone(connection):
    """Whether the client has closed the connection, or was killed."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


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
        judge, fate = self.server.judge, self.server.judge.fate()
        name = self.ask(b"Welcome\r\nUser: ")
        if not name:
            return
        if not judge.begin(name, self.connection):
            self.ask(b"\r\n% Login failed: the account is in use\r\n")
            return
        password = self.ask(b"\r\nPassword: ")
        time.sleep(judge.seconds)
        passed = password == judge.passwords.get(name)
        if fate == "login" or is_gone(self.connection):
            judge.end(name, self.connection, judge.dropped)
            return
        judge.end(name, self.connection, judge.logins if passed else judge.wrong)
        if fate == "after":
            judge.dropped[name] += 1
            return
        answer = b"\r\njudge> " if passed else b"\r\n% Login failed: wrong password\r\n"
        while passed and self.ask(answer) not in {"", "exit"}:
            pass
        if not passed:
            self.ask(answer)
