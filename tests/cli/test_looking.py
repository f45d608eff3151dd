"""The commands that show: pools, status, waiting, show, events."""

from __future__ import annotations

import json
import threading
import time

import pytest

from redispool import Account
from tests.conftest import wait_until

from .conftest import wait_for


@pytest.fixture
def busy(shell):
    """A pool in which one account is held, one quarantined, and somebody waits."""
    pool = shell.pool([Account("alice", "s3cret", labels={"site": "b"}), Account("bob", "s3cret")], name="lab")
    pool.quarantine("bob", "locked [red]out[/red]\N{BELL}")
    pool.configure(max_failures=3)
    with pool.lease(owner="worker 1"):
        waiter = threading.Thread(target=lambda: pool.acquire_account("alice", "worker 2", timeout=30).release())
        waiter.start()
        wait_until(lambda: pool.status().waiting)
        yield pool
    waiter.join()


def test_looking_at_a_busy_pool(shell, busy):
    shell.pool(3, name="spare")
    piped, shown = shell.both("pools")
    for text in (piped, shown):
        assert [line.split() for line in text.splitlines()[1:]] == [
            ["lab", "2", "0", "1", "0", "1", "1"],
            ["spare", "3", "3", "0", "0", "0", "0"],
        ]
    for text in shell.both("status", "lab"):
        assert "lab: " in text
        assert "locked [red]out[/red]" in text
        assert "worker 1" in text
        assert "Policy: max_failures 3" in text
        assert "spare" not in text
    for text in shell.both("waiting"):
        assert "worker 2" in text
        assert "alice" in text
    for text in shell.both("events", "lab"):
        assert "granted" in text
        assert "worker 1" in text


def test_what_a_pipe_gets_is_never_cut_off_and_a_terminal_wraps_it(shell):
    name, owner = "a" * 100, "o" * 200
    pool = shell.pool([Account(name)])
    with pool.lease(owner=owner):
        piped, shown = shell.both("status")
    assert name in piped
    assert owner in piped
    assert shown.count("o") >= 200


def test_json_is_one_document_whose_fields_are_known(shell, busy):
    (figures,) = json.loads(shell.says("pools", "--json"))
    assert figures == {
        "name": "lab", "accounts": 2, "free": 0, "held": 1, "cooling": 0, "quarantined": 1, "waiting": 1, "to_clean": 0,
        "error": None,
    }  # fmt: skip
    (status,) = json.loads(shell.says("status", "--json"))
    assert status.keys() >= {*figures, "leases", "quarantine", "policy", "at"} - {"error"}
    (lease,) = status["leases"]
    assert (lease["account"], lease["owner"], lease["purpose"]) == ("alice", "worker 1", "")
    assert lease.keys() >= {"token", "fence", "acquired_at", "expires_at", "age", "note"}
    (waiter,) = json.loads(shell.says("waiting", "lab", "--json"))
    assert (waiter["pool"], waiter["place"], waiter["owner"], waiter["wants"]) == ("lab", 1, "worker 2", "alice")
    events = [json.loads(line) for line in shell.says("events", "--json", "--account", "bob").splitlines()]
    assert [event["event"] for event in events][-1:] == ["quarantined"]
    assert events[-1].keys() >= {"pool", "at", "event", "account", "owner", "fence", "why"}


def test_a_secret_is_shown_only_on_request_and_only_on_a_terminal(shell, busy):
    for text in shell.both("show", "lab", "alice"):
        assert "site=b" in text
        assert "s3cret" not in text
    assert "s3cret" in shell.says("show", "lab", "alice", "--show-secrets", terminal=True)
    for options in ({}, {"terminal": True}):
        words = ["show", "lab", "alice", "--show-secrets", *(["--json"] if options else [])]
        status, output = shell.run(*words, **options)
        assert status == 2
        assert "s3cret" not in output
    assert "s3cret" not in shell.says("show", "lab", "alice", "--json")


def test_an_empty_namespace_is_no_error(shell):
    assert "no pools" in shell.says("pools")
    assert "no pools" in shell.says("status")
    assert json.loads(shell.says("waiting", "--json")) == []


@pytest.mark.parametrize("words", ["status nope", "show nope a", "events nope", "configure nope"])
def test_a_pool_that_is_not_there_is_named_with_those_that_are(shell, words):
    shell.pool(1, name="lab")
    status, output = shell.run(*words.split())
    assert status == 1
    assert "no pool 'nope'" in output
    assert "lab" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("terminal", [False, True])
def test_events_are_followed_until_ctrl_c_none_twice_and_none_left_out(own_shell, terminal):
    pool = own_shell.pool(1)
    with pool.lease(owner="first"):
        pass
    running = own_shell.start("events", "--follow", terminal=terminal)
    wait_for(running, "released")
    with pool.lease(owner="second"):
        wait_for(running, "second")
    own_shell.server.restart()
    pool.add_account(Account("later"))  # the events of before are gone with the server's memory
    with pool.lease(owner="third"):
        wait_for(running, "third")
    running.process.send_signal(2)
    assert running.end() == 130
    for owner in ("first", "second", "third"):
        assert running.output.count(f"granted {'later' if owner == 'third' else 'a1'} {owner}") == 1


def test_the_events_of_an_account_are_followed_from_its_own_last_ones_on(shell):
    pool = shell.pool(2)
    for _ in range(300):
        pool.acquire_account("a2").release()
    running = shell.start("events", "--follow", "--account", "a1", "--limit", "5")
    wait_for(running, "added a1")
    with pool.lease("a1", "bob"):
        wait_for(running, "granted a1 bob")
    running.process.send_signal(2)
    assert running.end() == 130
    assert "a2" not in running.output
    assert running.output.count("added a1") == 1


def test_events_are_followed_in_pools_that_come_later_and_past_what_nobody_can_read(shell):
    running = shell.start("events", "--follow", "--json")
    with shell.server.client() as client:
        pool = shell.pool(1, name="later")
        wait_for(running, '"event": "added"')
        client.xadd(f"{shell.namespace}:{{later}}:events", {"granted": "forged"})
        with pool.lease(owner="bob"):
            wait_for(running, "bob")
    running.process.send_signal(2)
    assert running.end() == 130
    told = [json.loads(line) for line in running.output.splitlines() if line.startswith("{")]
    assert [row["event"] for row in told][:3] == ["added", "unreadable", "granted"]
    assert {row["pool"] for row in told} == {"later"}


def test_who_reads_no_further_ends_the_command_without_a_word(shell):
    shell.pool([Account(f"account-{number}") for number in range(3000)])
    command = ["sh", "-c", '"$@" | head -1; sleep 0.1', "sh", *shell_words("export", "default")]
    running = shell.start(command=command)
    assert running.end() == 0
    assert running.output == "name,max_sessions,labels\n"


def shell_words(*words):
    from .terminals import COMMAND

    return [*COMMAND, *words]


def test_times_are_told_so_that_people_understand_them():
    from redispool.cli.tables import clock, duration

    shown = [duration(seconds) for seconds in (-1, 0.44, 9.9, 42, 185, 7800, 2 * 86400 + 3 * 3600)]
    assert shown == ["0.0 s", "0.4 s", "9.9 s", "42 s", "3 min 5 s", "2 h 10 min", "2 d 3 h"]
    assert clock(time.time()).startswith(time.strftime("%Y-%m-"))
