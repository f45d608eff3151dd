"""`redispool demo`: what it shows, what it finds, and that nothing of it stays behind."""

from __future__ import annotations

import os
import signal
import sys

import psutil
import pytest

from redispool.cli.demo.scene import Comeback, Kill, Outcome, Plan
from tests.conftest import wait_until
from tests.servers import free_port

from .terminals import Running

QUICK = ("demo", "--seconds", "3", "--ttl", "1")


def wait_for(running, text):
    wait_until(lambda: running.shows(text) or running.process.poll() is not None, 30)
    assert running.shows(text), running.output


def works_in(directory):
    """The processes whose working directory is in there: the embedded server and its supervisor."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(f"{directory}{os.sep}"):
                found.append(process)
        except psutil.Error:
            continue
    return found


# -- whole runs ------------------------------------------------------------------------------------------------------


def test_piped_it_tells_the_story_in_plain_lines_and_leaves_nothing_on_the_server(server, client):
    before = set(client.keys("*private:*"))
    running = Running(*QUICK, "--url", server.url)
    wait_for(running, "wait\n")
    running.note_descendants()
    assert running.end() == 0, running.output
    assert not running.left()
    for part in ("is killed (SIGKILL)", "is back", "It works", "0: no account was ever in use twice"):
        assert part in running.output
    assert "\x1b" not in running.output
    assert max(map(len, running.output.splitlines())) <= 80
    assert set(client.keys("*private:*")) <= before
    assert not [name for name in client.smembers("redispool:pools") if name.startswith(b"private:")]


def test_on_a_terminal_it_shows_live_who_holds_what_and_then_the_summary(server):
    running = Running(*QUICK, "--url", server.url, terminal=True)
    assert running.end() == 0, running.output
    for part in ("Held by", "waits in line", "uses switch-", "(dead)", "It works"):
        assert part in running.output
    assert running.output.rindex("\x1b[?25h") > running.output.rindex("\x1b[?25l"), "the cursor is back"
    assert running.output.rindex("It works") > running.output.rindex("Held by")


def test_without_a_url_it_runs_on_a_server_of_its_own_that_is_gone_afterwards(tmp_path):
    running = Running(*QUICK, TMPDIR=str(tmp_path))
    wait_for(running, "wait\n")
    assert works_in(tmp_path)
    running.note_descendants()
    assert running.end() == 0, running.output
    assert "an embedded server" in running.output
    assert not running.left()
    assert not list(tmp_path.iterdir())
    wait_until(lambda: not works_in(tmp_path))


def test_the_url_and_its_password_may_come_from_the_environment_and_are_seen_nowhere(own_server):
    server = own_server()
    with server.client() as client:
        client.acl_setuser("demo", enabled=True, passwords=["+s3cret"], commands=["+@all"], keys=["*"], channels=["*"])
    running = Running(*QUICK, REDISPOOL_URL=server.url.replace("//", "//demo:s3cret@"))
    wait_for(running, "wait\n")
    for process in running.note_descendants():
        assert "s3cret" not in " ".join(process.cmdline())
    assert running.end() == 0, running.output
    assert "s3cret" not in running.output


# -- failures --------------------------------------------------------------------------------------------------------


def test_a_server_that_cannot_be_reached_is_one_clear_line_and_status_69():
    running = Running("demo", "--url", f"redis://127.0.0.1:{free_port()}/0")
    assert running.end() == 69
    assert len(running.output.splitlines()) == 1
    assert "cannot reach the Redis server" in running.output
    assert "--url" in running.output


def test_it_fails_when_somebody_else_is_logged_in_to_an_account_of_the_pool(own_server):
    occupied = """
import sys
from redispool.cli import login_service, main
enter = login_service.LoginService.__enter__
def enter_occupied(self):
    enter(self)
    assert self.admit("switch-1", self._passwords["switch-1"]) == "welcome"
    return self
login_service.LoginService.__enter__ = enter_occupied
sys.exit(main())
"""
    running = Running(*QUICK, "--url", own_server().url, command=[sys.executable, "-c", occupied])
    assert running.end() == 1, running.output
    assert "REFUSED" in running.output
    assert "It did not work" in running.output


def outcome(**changes):
    facts = {
        "plan": Plan("redis://localhost", "redis://localhost", 8, 3, 10.0, 3.0),
        "seconds": 10.0,
        "logins": {"switch-1": 20, "switch-2": 18},
        "refusals": 0,
        "kill": Kill("worker 3", "switch-2", 40, 1000.0, 1002.5),
        "comeback": Comeback("worker 5", 1002.6),
    }
    return Outcome(**{**facts, **changes})


def test_a_good_outcome_has_no_problem():
    assert outcome().problems() == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"refusals": 1}, "in use twice"),
        ({"logins": {}}, "no worker ever logged in"),
        ({"kill": None, "comeback": None}, "no worker could be killed"),
        ({"comeback": None}, "did not come back"),
        ({"comeback": Comeback("worker 5", 1004.1)}, "came back only 4.1 s after"),
        ({"comeback": Comeback("worker 5", 1001.0)}, "still stood"),
        ({"not_free": ("switch-3",)}, "switch-3 was not free again"),
        ({"failures": ("worker 2: it ended",)}, "worker 2: it ended"),
    ],
)
def test_each_broken_promise_is_a_problem(changes, problem):
    (found,) = outcome(**changes).problems()
    assert problem in found


# -- an end before the end -------------------------------------------------------------------------------------------


def test_ctrl_c_ends_it_quietly_with_nothing_left_running_and_no_key_left_on_the_server(own_server):
    server = own_server()
    running = Running("demo", "--url", server.url, terminal=True)
    wait_for(running, "uses switch-")
    assert len(running.note_descendants()) == 8
    running.type(b"\x03")
    assert running.end() == 130
    assert "Traceback" not in running.output
    assert running.output.rindex("\x1b[?25h") > running.output.rindex("\x1b[?25l"), "the cursor is back"
    assert not running.left()
    with server.client() as client:
        assert client.keys() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_other_signals_end_it_as_cleanly(tmp_path, number):
    running = Running("demo", TMPDIR=str(tmp_path))
    wait_for(running, "wait\n")
    running.note_descendants()
    running.process.send_signal(number)
    assert running.end() == 128 + number
    assert "Traceback" not in running.output
    assert not running.left()
    assert not list(tmp_path.iterdir())
    wait_until(lambda: not works_in(tmp_path))


def test_even_when_the_demo_is_killed_its_workers_and_its_server_do_not_stay(tmp_path):
    running = Running("demo", TMPDIR=str(tmp_path))
    wait_for(running, "wait\n")
    running.note_descendants()
    server = works_in(tmp_path)
    assert server
    running.process.kill()
    wait_until(lambda: not running.left())
    wait_until(lambda: not works_in(tmp_path))
    running.stop()
