"""The web page as its user has it: a real server, a real `redispool web`, and headless Chromium."""

from __future__ import annotations

import http.client
import json
import re
import shutil
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

from tests.cli.conftest import cli_server, nursery, own_shell, shell  # noqa: F401 - fixtures
from tests.conftest import wait_until

CHROMIUM = shutil.which("chromium")
_NOT_LOOPBACK = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"  # nothing else is to be found


class Web:
    """A running `redispool web`."""

    def __init__(self, shell, *words, terminal=False, port=0, **options):  # noqa: F811
        self.running = shell.start("web", "--port", str(port), *words, terminal=terminal, **options)
        wait_until(lambda: "Ctrl-C" in self.running.output or self.running.process.poll() is not None, 30)
        found = re.search(r"http://\S+", self.running.output)
        assert found, self.running.output
        self.address = found[0]  # with the token, if there is one
        self.url, _, self.token = self.address.partition("#token=")
        self.host = urlsplit(self.url).netloc

    def ask(self, method, path, body=None, **headers):
        """The status, the headers and the text of a reply."""
        connection = http.client.HTTPConnection(self.host, timeout=10)
        headers = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        connection.request(method, path, body if body is None else json.dumps(body), headers)
        reply = connection.getresponse()
        try:
            return reply.status, reply.headers, reply.read().decode()
        finally:
            connection.close()

    def act(self, action, body, **headers):
        """The status of an action, asked for as the page does if no header says otherwise."""
        usual = {
            "Origin": f"http://{self.host}",
            "Authorization": f"Bearer {self.token}",
            "Content_Type": "application/json",
        }
        return self.ask("POST", f"/actions/{action}", body, **{**usual, **headers})[0]

    @contextmanager
    def stream(self, **headers):
        """What is new, as pairs of an event's name and its document."""
        connection = http.client.HTTPConnection(self.host, timeout=10)
        connection.request("GET", "/events", headers=headers)
        reply = connection.getresponse()
        assert reply.status == 200
        try:
            yield _events(reply)
        finally:
            connection.close()


def _events(reply):
    name = ""
    while line := reply.readline().decode().strip("\n"):
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)
            assert reply.readline() == b"\n"


@pytest.fixture(scope="module")
def chromium():
    """A browser; of the module only, for other tests have event loops of their own."""
    if CHROMIUM is None:
        pytest.fail("the tests of the web page need a browser: apt-get install chromium")
    with sync_playwright() as playwright:
        rules = f"--host-resolver-rules=MAP evil.example 127.0.0.1, {_NOT_LOOPBACK}"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", rules])
        yield browser
        browser.close()


class Tab:
    """A page that is looked at, and all that it did."""

    def __init__(self, chromium, url, **options):
        self.context = chromium.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.complaints, self.requests = [], []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(f"{error}\n{error.stack}"))
        self.page.on("dialog", self._note)
        self.context.on("request", lambda request: self.requests.append(request))  # noqa: PLW0108 - playwright wants one of its own
        self.page.goto(url)

    def _note(self, dialog):
        self.complaints.append(dialog.message)
        dialog.dismiss()

    def shows(self, selector, *texts):
        """Wait until all the texts stand in the element."""
        wait_until(lambda: all(text in self.text(selector) for text in texts))

    def text(self, selector):
        """What is read there; waiting a moment lets the page go on."""
        self.page.wait_for_timeout(10)
        return self.page.locator(selector).inner_text()

    def live(self):
        self.shows("#state", "live")
        return self


@pytest.fixture
def look(chromium):
    """Opens a page; whatever it did, it asked nothing beyond its server, and had nothing to complain of."""
    tabs = []

    def open_page(url, **options):
        tabs.append(Tab(chromium, url, **options))
        return tabs[-1].live()

    yield open_page
    for tab in tabs:
        hosts = {urlsplit(request.url).hostname for request in tab.requests}
        complaints = [text for text in tab.complaints if "net::ERR" not in text]  # of a server that was away
        tab.context.close()
        assert hosts == {"127.0.0.1"}
        assert complaints == []
