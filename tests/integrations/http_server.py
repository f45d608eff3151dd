"""An HTTP server that refuses an account which has a request in progress already: the outside judge."""

from __future__ import annotations

import threading
from base64 import b64decode
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class HttpServer:
    """Listens on a loopback port of its own.

    `/slow` sends half of its body, and the rest once `go_on` is set; `/status/403` answers that; `/elsewhere` sends on
    to the URL in `elsewhere`; `/limited` answers 429 with the headers in `limits` while there are `limited` accounts.
    `seen` counts the requests of each account, and `refusals` those that came while one of the same account was in
    progress.
    """

    def __init__(self, passwords):
        self.passwords = dict(passwords)
        self.seen, self.refusals = Counter(), Counter()
        self.limited, self.limits = set(), {}
        self.elsewhere = ""
        self.go_on = threading.Event()
        self.in_progress = set()
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Request)
        self.server.daemon_threads = True
        self.server.judge = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        judge = self.server.judge
        name = self.account()
        if name is None:
            self.answer(401, {"WWW-Authenticate": "Basic"})
            return
        with judge.lock:
            judge.seen[name] += 1
            if name in judge.in_progress:
                judge.refusals[name] += 1
                self.answer(409)
                return
            judge.in_progress.add(name)
        status, headers = self.verdict(name)
        self.answer(status, headers, last=lambda: judge.in_progress.discard(name))

    def account(self):
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        if kind == "Bearer":
            return next((name for name, password in self.server.judge.passwords.items() if password == given), None)
        name, _, password = b64decode(given).decode().partition(":")
        return name if self.server.judge.passwords.get(name) == password else None

    def verdict(self, name):
        judge = self.server.judge
        if self.path.startswith("/status/"):
            return int(self.path.removeprefix("/status/")), {}
        if self.path == "/elsewhere":
            return 302, {"Location": judge.elsewhere}
        if self.path.startswith("/limited") and name in judge.limited:
            return 429, judge.limits
        return 200, {}

    def answer(self, status, headers=None, last=lambda: None):
        body = self.headers.get("Authorization", "").encode()
        self.send_response(status)
        for field, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(field, value)
        self.end_headers()
        self.wfile.write(body[:1])
        self.wfile.flush()
        if self.path == "/slow":
            self.server.judge.go_on.wait(10)
        last()  # before its last byte: the client may release the account as soon as it has that
        self.wfile.write(body[1:])

    def log_message(self, *_):
        pass
