"""What the page's server tells, and whom; without a browser."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from importlib import resources

import pytest
from cryptography.fernet import Fernet

from redispool import Account
from redispool.errors import LeaseLost, NotHeld
from tests.conftest import wait_until

from .conftest import Web

ALICE = {"pool": "lab", "account": "alice", "owner": "worker 1"}


@pytest.fixture
def lab(shell):
    """A pool of which one account is held."""
    pool = shell.pool([Account("alice", "planted-1", "planted-2"), Account("bob", "planted-3")], name="lab")
    handle = pool.acquire_account("alice", "worker 1")
    yield pool
    with suppress(NotHeld, LeaseLost):  # the test may have released it
        handle.release()


@pytest.fixture
def admin(shell, lab):
    return Web(shell, "--admin", terminal=True)


def test_an_action_needs_the_token_the_right_origin_and_the_right_host(admin, lab):
    foreign = "http://127.0.0.1:1"
    refused = {
        "no token": {"Authorization": None},
        "a wrong one": {"Authorization": "Bearer wrong"},
        "of another kind": {"Authorization": f"Basic {admin.token}"},
        "one that is no ASCII": {"Authorization": "Bearer \xe9"},
        "no origin": {"Origin": None},
        "another one": {"Origin": foreign},
        "that of a sandboxed frame": {"Origin": "null"},
        "a browser that tells of another site": {"Sec_Fetch_Site": "cross-site"},
    }
    for what, headers in refused.items():
        assert admin.act("release", ALICE, **headers) == 403, what
    for host in (
        "evil.example",
        f"evil.example:{admin.host.rpartition(':')[2]}",
        "127.0.0.1.evil.example",
        "x@127.0.0.1",
    ):
        assert admin.act("release", ALICE, Host=host, Origin=f"http://{host}") == 421, host
    assert admin.act("release", ALICE, Content_Type="text/plain") == 400
    assert admin.ask("GET", "/actions/release")[0] == 405
    assert admin.ask("POST", f"/actions/release?token={admin.token}", ALICE, Origin=f"http://{admin.host}")[0] == 403
    assert lab.status().held == 1
    assert admin.act("release", {**ALICE, "owner": "somebody else"}) == 409
    assert admin.act("release", {**ALICE, "pool": "no such"}) == 404
    assert lab.status().held == 1
    assert admin.act("release", ALICE) == 200
    assert lab.status().held == 0
    assert admin.act("quarantine", {"pool": "lab", "account": "bob"}) == 200
    assert lab.status().quarantine[0].reason == "by an operator, on the web page"
    assert admin.act("restore", {"pool": "lab", "account": "bob"}) == 200
    assert lab.status().quarantined == 0


@pytest.mark.parametrize(
    "body", [[], {}, {"pool": "lab"}, {**ALICE, "owner": 7}, {**ALICE, "note": "x" * 20_000}, None]
)
def test_what_is_no_action_is_refused(admin, lab, body):
    assert admin.act("release", body) == 400
    assert lab.status().held == 1


def test_without_admin_there_are_no_actions(shell, lab):
    web = Web(shell)
    assert web.token == ""
    assert web.act("release", ALICE, Authorization="Bearer ") == 403
    assert lab.status().held == 1


def test_no_reply_holds_a_secret_and_each_has_the_headers_that_protect_it(admin, lab, shell):
    token = lab.status().leases[0].token
    texts = []
    for path in ("/", "/page.js", "/page.css", "/actions/release", "/no/such"):
        _, headers, text = admin.ask("GET", path)
        texts.append(text)
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "Access-Control-Allow-Origin" not in headers
    with admin.stream() as events:
        texts += [str(next(events)) for _ in range(2)]
    assert "alice" in texts[-1]
    for secret in ("planted", token, admin.token):
        assert not any(secret in text for text in texts)
    assert admin.running.output.count(admin.token) == 1


def test_the_page_is_whole_in_the_package_and_names_nothing_beyond_itself(shell):
    web = Web(shell)
    page = resources.files("redispool.web") / "page"
    for file in page.iterdir():
        text = file.read_text("utf-8")
        path = "/" if file.name == "index.html" else f"/{file.name}"
        assert web.ask("GET", path)[::2] == (200, text)
        assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}  # how SVG is called
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|style=", text)
        for name in re.findall(r'(?:from|src=|href=)\s*"[./]*([\w.]+\.\w+)"', text):
            assert (page / name).is_file(), name
    assert web.ask("GET", "/../server.py")[0] == 404
    assert web.ask("GET", "/%2e%2e/server.py")[0] == 404


def test_the_stream_is_for_its_own_page(shell, lab):
    web = Web(shell)
    assert web.ask("GET", "/events", Sec_Fetch_Site="cross-site")[0] == 403
    assert web.ask("GET", "/events", Host="evil.example")[0] == 421
    with web.stream(**{"Sec-Fetch-Site": "same-origin"}) as events:
        assert next(events)[0] == "whole"


def test_redis_is_asked_once_however_many_look_and_not_at_all_when_nobody_does(own_shell):
    own_shell.pool(3)
    web = Web(own_shell, "--every", "0.2")
    with own_shell.server.client() as client:

        def looks():
            return client.info("commandstats").get("cmdstat_smembers", {"calls": 0})["calls"]

        streams = [web.stream() for _ in range(8)]
        told = [stream.__enter__() for stream in streams]
        for events in told:
            assert next(events)[0] == "whole"
        before = looks()
        for _ in range(5):
            for events in told:
                assert next(events)[0] == "news"
        assert looks() - before <= 5 + 5  # the page's own pace, not eight times that
        for stream in streams:
            stream.__exit__(None, None, None)
        seen = [looks()]
        wait_until(lambda: _later(web, seen, looks))
    with web.stream() as events:
        assert next(events)[0] == "whole"


def _later(web, seen, looks):
    """Whether there was no look in the time that a page takes to be asked for many times."""
    for _ in range(200):
        web.ask("GET", "/page.css")
    seen.append(looks())
    return seen[-1] == seen[-2]


def test_what_is_wrong_is_said_before_anything_is_served(shell):
    blocked = "import sys; sys.modules['starlette'] = None; from redispool.cli import main; sys.exit(main(['web']))"
    for words, terminal, said in (
        (["web", "--admin"], False, "--admin shows its token on a terminal"),
        (["web", "--admin", "--host", "0.0.0.0"], True, "--admin listens on this host only"),
        (["web", "--host", "no.such.host.invalid"], False, "choose others with --host and --port"),
    ):
        status, output = shell.run(*words, terminal=terminal)
        assert (status, "Traceback" in output) == (2, False)
        assert said in output
    status, output = shell.run(command=[sys.executable, "-c", blocked])
    assert status == 2
    assert "pip install 'redispool[web]'" in output
    assert shell.run("web", REDISPOOL_URL="redis://127.0.0.1:1/0")[0] == 69


def test_the_rights_of_a_reader_are_enough_for_one_pool_and_no_key_is_needed(own_server, own_shell):
    own_shell.server = own_server("valkey")
    key = Fernet.generate_key().decode()
    pool = own_shell.pool([Account("alice", "planted")], name="lab", cipher=key)
    own_shell.pool(1, name="other")
    line = own_shell.says("acl", "lab", "--role", "reader", "--user", "onlooker")
    with own_shell.server.client() as client:
        client.execute_command(*line.split(), ">s3cret")
    url = own_shell.server.url.replace("//", "//onlooker:s3cret@")
    pool.acquire_account(owner="early").release()
    with pool.lease(owner="worker 1"), Web(own_shell, "lab", REDISPOOL_URL=url).stream() as events:
        _, whole = next(events)
        assert whole["trouble"] is None
        (seen,) = whole["pools"]
        assert [lease[1:3] for lease in seen["leases"]] == [["alice", "worker 1"]]
        assert [row[2] for row in seen["past"]["holdings"]] == ["early", "worker 1"]


def test_to_listen_beyond_this_host_is_warned_of(shell):
    status, output = shell.run("web", "--host", "192.0.2.1")  # nobody's, so that it fails right after
    assert status == 2
    assert "warning: whoever reaches this host at 192.0.2.1 can read the names" in output
    assert "cannot listen on 192.0.2.1" in output


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_ends_it_while_somebody_looks(shell, lab, number):
    web = Web(shell)
    with web.stream() as events:
        assert next(events)[0] == "whole"
        web.running.process.send_signal(number)
        list(events)  # until it ends
        assert web.running.end(10) == 128 + number
    assert "Traceback" not in web.running.output
