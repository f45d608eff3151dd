"""The page in a browser: what it shows, what it survives, and what can be done from it."""

from __future__ import annotations

import http.server
import re
import threading
import time
from contextlib import suppress

import pytest

from redispool import Account
from redispool.errors import LeaseLost, NotHeld
from tests.conftest import wait_until
from tests.servers import free_port

from .conftest import Tab, Web

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def busy(shell):
    """A pool in which two accounts are held, one is out, and somebody waits."""
    accounts = [Account(name, f"planted-{name}") for name in ("alice", "bob", "carol")]
    pool = shell.pool(accounts, name="lab")
    pool.quarantine("carol", "banned since Monday")
    held = [pool.acquire_account(name, f"worker {number}") for number, name in enumerate(("alice", "bob"), 1)]
    waiter = threading.Thread(target=lambda: pool.acquire_account(owner="worker 3", timeout=60).release())
    waiter.start()
    wait_until(lambda: pool.status().waiting)
    yield pool
    for handle in held:
        with suppress(NotHeld, LeaseLost):
            handle.release()
    waiter.join()


def test_it_shows_pools_holders_queue_and_quarantine_and_goes_on_within_a_second(shell, busy, look):
    spare = shell.pool(1, name="spare")
    tab = look(Web(shell).url)
    tab.shows("#pools", "lab", "spare")
    tab.shows("#leases", "alice", "worker 1", "bob", "worker 2")
    tab.shows("#waiters", "worker 3", "any")
    tab.shows("#out", "carol", "banned since Monday")
    assert tab.page.locator("#leases button", has_text="Release").count() == 0, "it only shows"
    started = time.monotonic()
    with spare.lease(owner="somebody new"):
        tab.shows("#leases", "somebody new")
        print(f"a hand-out was on the page after {time.monotonic() - started:.2f} s")
    wait_until(lambda: "somebody new" not in tab.text("#leases"))
    tab.page.select_option("#pool", "spare")
    wait_until(lambda: "worker 1" not in tab.text("#leases"))
    tab.page.select_option("#pool", "")
    tab.page.fill("#filter", "ALI")
    wait_until(lambda: "bob" not in tab.text("#leases") and "alice" in tab.text("#leases"))
    assert re.fullmatch(r"redispool: \d held, \d waiting", tab.page.title())


def test_the_last_hour_is_there_at_once_and_goes_on(shell, look):
    pool = shell.pool([Account("alice"), Account("bob")], name="lab", auto_renew=False)
    for number in range(3):
        pool.acquire_account("alice", f"early {number}").release()
    pool.acquire_account("bob", "who died", ttl=0.1)
    pool.acquire_account("bob", "who had it next", timeout=10).release()
    tab = look(Web(shell).url)
    tab.page.locator("#timeline summary").click()
    tab.shows("#ended", "early 0", "early 2", "released", "who died", "expired")
    assert tab.page.locator("#timeline svg title", has_text="3 hand-outs").count(), "what is narrow is shown together"
    for drawn in ("#use path.held", "#pace path.pace"):
        wait_until(lambda drawn=drawn: tab.page.locator(drawn).get_attribute("d"))
    with pool.lease(owner="late"):
        tab.shows("#ended", "late", "held")
    tab.page.locator("text=hour").check()
    tab.shows("#ended", "late", "early 0")


def test_a_tab_that_nobody_sees_keeps_no_connection_and_is_up_to_date_when_it_is_seen_again(shell, look):
    pool = shell.pool(2)
    web = Web(shell)
    hidden, seen = look(web.url), look(web.url)
    seen.live()
    hidden.live()
    define = "Object.defineProperty(document, 'hidden', {{value: {}, configurable: true}})"
    show = f"{define}; document.dispatchEvent(new Event('visibilitychange'))"
    hidden.page.evaluate(show.format("true"))
    with pool.lease(owner="unseen"):
        seen.shows("#leases", "unseen")
        assert "unseen" not in hidden.text("#leases")
        hidden.page.evaluate(show.format("false"))
        hidden.shows("#leases", "unseen")


def test_it_survives_a_restart_of_redis_and_of_its_own_server(own_server, own_shell, look):
    own_shell.server = own_server("valkey", appendonly="yes", appendfsync="always")
    port = free_port()
    web = Web(own_shell, port=port)
    with own_shell.pool(2).lease(owner="before"):
        tab = look(web.url)
        tab.shows("#leases", "before")
        own_shell.server.kill()
        tab.shows("#state", "server away")
        tab.shows("#trouble", "cannot reach the Redis server")
        tab.shows("#leases", "before")
        own_shell.server.start()
        tab.live().shows("#leases", "before")
        assert not tab.page.locator("#trouble").is_visible()
        web.running.process.terminate()
        assert web.running.end(10) == 128 + 15
        tab.shows("#state", "page server away")
        Web(own_shell, port=port)
        tab.live()
        with own_shell.pool().lease(owner="after"):
            tab.shows("#leases", "before", "after")


def test_by_keyboard_alone_one_releases_quarantines_and_restores_and_the_token_leaves_the_address(shell, busy, look):
    web = Web(shell, "--admin", terminal=True)
    tab = look(web.address)
    page = tab.page
    assert page.url == web.url, "the token is gone from the address"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    _tab_to(page, "Release account alice")
    page.keyboard.press("Enter")
    tab.shows("#question", "Release account \N{LEFT DOUBLE QUOTATION MARK}alice", "worker 1")
    page.keyboard.press("Escape")
    assert busy.status().held == 2
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Release account alice"
    page.keyboard.press("Enter")
    _tab_to(page, None, "Release")
    page.keyboard.press("Enter")
    tab.shows("#message", "released account", "alice")
    wait_until(lambda: "worker 1" not in tab.text("#leases"))
    _tab_to(page, "Quarantine account bob")
    page.keyboard.press("Enter")
    page.keyboard.type("looks locked")
    page.keyboard.press("Enter")
    tab.shows("#out", "bob", "looks locked")
    _tab_to(page, "Restore account carol")
    page.keyboard.press("Enter")
    _tab_to(page, None, "Restore")
    page.keyboard.press("Enter")
    wait_until(lambda: "carol" not in tab.text("#out"))
    assert [out.account for out in busy.status().quarantine] == ["bob"]


def _tab_to(page, label, text=None):
    """Press Tab until a button has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate("[document.activeElement.getAttribute('aria-label'), document.activeElement.textContent]")
        if found[0] == label and text in (None, found[1]):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", "it is seen"
            return
    pytest.fail(f"no way to {label or text} by keyboard")


def test_a_token_is_typed_in_and_a_wrong_one_is_found_out(shell, busy, look):
    web = Web(shell, "--admin", terminal=True)
    tab = look(web.url)
    tab.complaints = Tolerant()
    for token, outcome in (("wrong", "the token is missing or wrong"), (web.token, "released account")):
        tab.page.locator("#unlock").click()
        tab.page.locator("#token").fill(token)
        tab.page.keyboard.press("Enter")
        tab.page.get_by_label("Release account bob").click()
        tab.page.locator("#yes").click()
        tab.shows("#message", outcome)
    assert "worker 2" not in {lease.owner for lease in busy.status().leases}


class Tolerant(list):
    """Complaints, but for those of a refusal that was to be expected."""

    def append(self, text):
        if "403" not in text:
            super().append(text)


def test_hostile_names_are_text_and_nothing_else(shell, look):
    pool = shell.pool([Account(HOSTILE, "planted"), Account("b\N{RIGHT-TO-LEFT OVERRIDE}drow")], name="<b>pool</b>")
    with pool.lease(HOSTILE, owner="\N{PILE OF POO}<script>alert(2)</script>"):
        pool.quarantine("b\N{RIGHT-TO-LEFT OVERRIDE}drow", "<svg onload=alert(3)>")
        tab = look(Web(shell).url)
        tab.page.locator("#timeline summary").click()
        tab.shows("#leases", HOSTILE, "\N{PILE OF POO}<script>alert(2)</script>")
        tab.shows("#ended", HOSTILE)
        tab.shows("#out", "b\N{REPLACEMENT CHARACTER}drow", "<svg onload=alert(3)>")
        tab.shows("#pools", "<b>pool</b>")
        assert tab.page.locator("img, main b, main script, body > svg").count() == 0


def test_no_other_page_can_act_read_or_frame_it(shell, busy, chromium):
    web = Web(shell, "--admin", terminal=True)
    with Attacker(web) as attacker:
        tab = Tab(chromium, attacker.url)
        assert tab.page.evaluate("attack()") == ["refused"] * 4
        tab.page.goto(f"http://evil.example:{web.host.rpartition(':')[2]}/")
        assert "not known by that name" in tab.text("body")
        tab.context.close()
    assert busy.status().held == 2


class Attacker:
    """A page of another origin, that tries what it can, and knows the token even."""

    def __init__(self, web):
        script = f"""
        const act = (headers, mode) => fetch("{web.url}actions/release", {{method: "POST", mode, headers, body:
          JSON.stringify({{pool: "lab", account: "alice", owner: "worker 1"}})}}).then((r) => r.type, () => "refused");
        const read = () => new Promise((done) => {{
          const source = new EventSource("{web.url}events");
          source.onmessage = source.onopen = () => done("read");
          source.onerror = () => done("refused");
        }});
        const frame = () => new Promise((done) => {{
          const frame = document.createElement("iframe");
          frame.onload = () => {{
            try {{ done(frame.contentDocument ? "blank" : "refused"); }} catch {{ done("refused"); }}
          }};
          frame.src = "{web.url}";
          document.body.append(frame);
        }});
        const token = {{Authorization: "Bearer {web.token}", "Content-Type": "application/json"}};
        window.attack = async () => [await act(token, "cors"), await act({{}}, "no-cors"), await read(), await frame()];
        """
        page = f"<!doctype html><body><script>{script}</script>".encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def test_it_is_dark_and_light_and_fits_a_phone(shell, busy, look):
    web = Web(shell)
    colours = set()
    for scheme in ("light", "dark"):
        tab = look(web.url, color_scheme=scheme, viewport={"width": 375, "height": 700})
        tab.shows("#leases", "alice")
        colours.add(tab.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 375
    assert len(colours) == 2
