"""`redispool run`: the command has the account, the whole time and no longer, whatever happens to whom."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import psutil
import pytest

from redispool import Account, AccountManager
from tests.conftest import wait_until

from .conftest import wait_for

# says which signals it gets, and how often, until a SIGTERM ends it
COUNTING = """
import signal, sys, time
got = []
def note(number, frame):
    got.append(signal.Signals(number).name)
    print("got", *got, flush=True)
    if number == signal.SIGTERM:
        sys.exit(3)
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(number, note)
print("ready", flush=True)
while True:
    time.sleep(0.02)
"""
STUBBORN = "trap '' TERM INT HUP; echo ready; while :; do sleep 0.05; done"
# a child in the group, one in a session of its own, and an orphan, none of which heeds SIGTERM
FORKING = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for leave in (lambda: None, os.setsid, lambda: os.fork() and os._exit(0)):
    if not os.fork():
        leave()
        break
else:
    print("ready", flush=True)
while True:
    time.sleep(0.02)
"""
TTL = 2.0


def started(shell, *words, options=("--ttl", str(TTL), "--grace", "0.3"), **settings):
    """A command that has said that it is ready, and all its processes."""
    running = shell.start("run", *options, "--", *words, **settings)
    wait_for(running, "ready")
    running.note_descendants()
    return running, running.left()


def started_forking(shell, program):
    """The same, once all five are there: the minder, the command, and its three."""
    running, _ = started(shell, *python(program))
    wait_until(lambda: running.note_descendants() and len(running.left()) == 5)
    return running, running.left()


def python(program):
    return [sys.executable, "-c", program]


def is_free(pool, count=1):
    status = pool.status()
    return status.free == count and not status.waiting


# -- what the command gets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("terminal", [False, True])
def test_the_command_finds_the_credentials_in_its_environment_and_its_status_is_ours(shell, terminal):
    pool = shell.pool([Account("alice", "pass word", "enable")])
    words = ["sh", "-c", 'echo "$ACCOUNT_NAME:$ACCOUNT_PASSWORD:$ACCOUNT_AUTHORIZATION_PASSWORD"; exit 7']
    status, output = shell.run("run", "--", *words, terminal=terminal)
    assert output.strip() == "alice:pass word:enable"
    assert status == 7
    assert is_free(pool)


def test_on_a_descriptor_the_credentials_are_in_no_environment(shell):
    shell.pool(1)
    output = shell.says("run", "--fd", "5", "--env-prefix", "LOGIN_", "--", "sh", "-c", "cat <&5; env | grep ^LOGIN_")
    document, *variables = output.splitlines()
    expected = {"name": "a1", "fence": "1", "password": "secret-1", "authorization_password": "secret-1"}
    assert json.loads(document) == expected
    assert sorted(variables) == ["LOGIN_FD=5", "LOGIN_FENCE=1", "LOGIN_NAME=a1"]


def test_the_commands_environment_is_ours_but_for_what_is_of_another_account(shell):
    shell.pool(1)
    words = ["run", "--env-prefix", "PA", "--", "sh", "-c", 'echo "$PANAME:$PAKEY:$PAIN"; test -n "$PATH"']
    assert shell.says(*words, PAKEY="another's", PAIN="none") == "a1::none\n"


def test_a_command_without_a_name_is_wrong_usage(shell):
    status, output = shell.run("run", "")
    assert (status, "COMMAND" in output) == (2, True)


def test_it_reads_and_writes_where_we_do(shell):
    shell.pool(1)
    assert shell.says("run", "tr", "a-z", "A-Z", stdin="hello\n") == "HELLO\n"


def test_it_takes_the_account_or_the_labels_or_the_pool_of_the_host(shell):
    shell.pool([Account("a1"), Account("a2", labels={"site": "b"})])
    lab = shell.pool([Account("lab1")], name="lab")
    show = ["sh", "-c", "echo $ACCOUNT_NAME"]
    assert shell.says("run", "--account", "a2", "--", *show) == "a2\n"
    assert shell.says("run", "--label", "site=b", "--", *show) == "a2\n"
    assert shell.says("run", "--pool", "lab", "--", *show) == "lab1\n"
    AccountManager(redis=shell.server.url, namespace=shell.namespace).add_pool(lab.name, "lab-*")
    assert shell.says("run", "--host", "lab-7", "--", *show) == "lab1\n"


def test_the_lease_is_renewed_while_the_command_runs(shell):
    pool = shell.pool(1)
    running, _ = started(shell, "sh", "-c", "echo ready; sleep 3", options=("--ttl", "1.5"))
    assert running.end() == 0, running.output
    assert [event.event for event in pool.history()][:2] == ["released", "granted"]


@pytest.mark.parametrize(("word", "status"), [("no-such-command", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_be_run_is_said_to_and_the_account_is_free(shell, word, status):
    pool = shell.pool(1)
    got, output = shell.run("run", word)
    assert got == status
    assert output.startswith(f"redispool: cannot run {word}: ")
    assert is_free(pool)


def test_no_account_in_time_is_status_75_and_leaves_no_waiter(shell):
    pool = shell.pool(1)
    with pool.lease():
        status, output = shell.run("run", "--timeout", "0.2", "true")
        assert status == 75
        assert "did not come free" in output
        assert pool.status().waiting == 0


def test_ctrl_c_while_it_waits_runs_nothing_and_leaves_no_waiter(shell):
    pool = shell.pool(1)
    with pool.lease():
        running = shell.start("run", "echo", "started", terminal=True)
        wait_until(lambda: pool.status().waiting)
        running.type(b"\x03")
        assert running.end() == 130
        assert "started" not in running.output
        assert pool.status().waiting == 0
    assert is_free(pool)


@pytest.mark.parametrize(
    "words", ["--fd 1", "--fd 9999999999", "--env-prefix A-", "--host h --pool p", "--host h --label a=b", "--label x"]
)
def test_wrong_usage_is_said_before_anything_is_taken(shell, words):
    status, output = shell.run("run", *words.split(), "--", "true")
    assert status == 2, output
    assert "Traceback" not in output


# -- signals ---------------------------------------------------------------------------------------------------------


def test_signals_are_passed_on_once_each_and_the_status_is_the_commands(shell):
    pool = shell.pool(1)
    running, _ = started(shell, *python(COUNTING))
    sent = []
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGTERM):
        running.process.send_signal(number)
        sent.append(number.name)
        wait_for(running, " ".join(sent))
    assert running.end() == 3
    assert running.output.splitlines()[-1] == "got " + " ".join(sent)
    assert is_free(pool)


def test_ctrl_c_on_the_terminal_reaches_the_command_once_and_does_not_end_us(shell):
    pool = shell.pool(1)
    running, _ = started(shell, *python(COUNTING), terminal=True)
    running.type(b"\x03")
    wait_for(running, "got SIGINT")
    running.process.terminate()
    assert running.end() == 3
    assert running.output.split()[-2:] == ["SIGINT", "SIGTERM"]
    assert running.output.split()[-3:-2] == ["got"]
    assert is_free(pool)


def test_a_command_that_a_signal_ends_has_the_status_that_shells_give_it(shell):
    shell.pool(1)
    running, _ = started(shell, "sh", "-c", "echo ready; exec sleep 60")
    running.process.terminate()
    assert running.end() == 128 + signal.SIGTERM


def test_a_command_that_ignores_sigterm_keeps_its_account_and_is_waited_for(shell):
    pool = shell.pool(1)
    running, _ = started(shell, "sh", "-c", "trap '' TERM; echo ready; sleep 1.5; echo done; exit 4")
    running.process.terminate()
    assert running.end() == 4
    assert "done" in running.output
    assert is_free(pool)


# -- nothing is left running -----------------------------------------------------------------------------------------


def test_what_a_command_leaves_running_is_ended_before_the_account_goes_back(shell):
    pool = shell.pool(1)
    program = FORKING.replace('print("ready", flush=True)', 'print("ready", flush=True); time.sleep(1); os._exit(6)')
    running, _ = started_forking(shell, program)
    wait_until(lambda: is_free(pool))
    assert not running.left()
    assert running.end() == 6, running.output


def test_a_lost_lease_ends_the_command_and_all_that_it_forked_with_status_75(shell):
    pool = shell.pool(1)
    running, _ = started_forking(shell, FORKING)
    pool.release("a1", force=True)
    assert running.end() == 75, running.output
    assert "the lease on account 'a1' was lost" in running.output
    assert not running.left()


def test_a_lost_lease_ends_politely_who_heeds_sigterm(shell):
    pool = shell.pool(1)
    running, _ = started(shell, *python(COUNTING))
    pool.release("a1", force=True)
    assert running.end() == 75, running.output
    assert "got SIGTERM" in running.output


def test_a_command_that_is_killed_leaves_the_terminal_as_it_was(shell):
    pool = shell.pool(1)
    program = (
        "import signal, time, tty; signal.signal(15, signal.SIG_IGN); tty.setraw(0); print('ready'); time.sleep(60)"
    )
    running, _ = started(shell, sys.executable, "-u", "-c", program, terminal=True)
    assert not running.echoes()
    pool.release("a1", force=True)
    assert running.end() == 75, running.output
    assert running.echoes()


def test_when_the_server_is_gone_the_command_is_over_before_the_lease_can_be(own_shell):
    own_shell.pool(1)
    running, _ = started(own_shell, "sh", "-c", STUBBORN)
    ends_at = time.monotonic() + TTL  # at the latest: no renewal can come through from here on
    own_shell.server.kill()
    wait_until(lambda: len(running.left()) < 2)  # the minder may still be there
    assert time.monotonic() < ends_at
    assert running.end() == 75, running.output
    assert not running.left()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_when_we_are_killed_or_stopped_the_command_is_over_before_the_lease_can_be(shell, number):
    pool = shell.pool(1)
    running, processes = started_forking(shell, FORKING)
    command = {process.pid for process in processes[1:]}
    ends_at = time.monotonic() + TTL
    running.process.send_signal(number)
    wait_until(lambda: not command & {process.pid for process in running.left()})
    assert time.monotonic() < ends_at
    running.process.kill()
    wait_until(lambda: is_free(pool))


def test_when_the_minder_is_killed_the_command_is_ended_and_the_account_free(shell):
    pool = shell.pool(1)
    running, processes = started_forking(shell, FORKING)
    assert processes[0].ppid() == running.process.pid
    processes[0].kill()
    assert running.end() == 128 + signal.SIGKILL
    assert not running.left()
    assert is_free(pool)


def test_stopped_and_continued_on_the_terminal_it_goes_on(shell):
    pool = shell.pool(1)
    running, processes = started(shell, "sh", "-c", "echo ready; read line; echo got $line", terminal=True)
    group = [psutil.Process(running.process.pid), *processes]
    # a session's leader has no shell above it, so the terminal's Ctrl-Z is played by hand
    os.killpg(running.process.pid, signal.SIGSTOP)
    wait_until(lambda: all(process.status() == psutil.STATUS_STOPPED for process in group))
    os.killpg(running.process.pid, signal.SIGCONT)
    running.type(b"hello\r")
    assert running.end() == 0, running.output
    assert "got hello" in running.output
    assert is_free(pool)


def test_what_was_stopped_for_long_goes_on_without_a_signal_that_nobody_sent(shell):
    shell.pool(1)
    running, _ = started(shell, *python(COUNTING))
    for _ in range(12):
        running.process.send_signal(signal.SIGSTOP)
        time.sleep(TTL / 10 + 0.05)  # beyond the pause between two looks at the lease
        running.process.send_signal(signal.SIGCONT)
        time.sleep(0.05)
    running.process.send_signal(signal.SIGUSR2)
    wait_for(running, "SIGUSR2")
    running.process.terminate()
    assert running.end() == 3
    assert running.output.splitlines()[-1] == "got SIGUSR2 SIGTERM"


def test_no_secret_is_in_the_words_of_any_process(shell):
    shell.pool(1)
    running, processes = started(shell, "sh", "-c", "echo ready; sleep 60")
    for process in [psutil.Process(running.process.pid), *processes]:
        assert "secret-1" not in " ".join(process.cmdline())


def test_what_the_minder_did_not_read_any_more_does_not_hide_how_the_command_ended(shell):
    program = """
import os, time
from redispool.cli.minder import Minder, Order
for status in range(20):
    with Minder() as minder:
        minder.start(Order(["sh", "-c", f"exit {status}"], dict(os.environ), 1.0, None))
        while (outcome := minder.outcome()) is None:
            minder.extend(time.monotonic() + 60.0)
        assert outcome.status == status, outcome
"""
    running = shell.start(command=python(program))
    assert running.end() == 0, running.output
