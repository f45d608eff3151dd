"""`redispool top`, looked at as its user sees it: what stands on the screen, and what keys do."""

from __future__ import annotations

import re
import threading
from contextlib import suppress

import pytest

from redispool import Account
from redispool.cli.site import Site
from redispool.cli.top.keyboard import _KEY, _NAMES
from redispool.cli.top.screen import SORTS, View
from redispool.errors import NotHeld
from redispool.watch import PoolView, Watch
from tests.conftest import wait_until


class Screen:
    """The last picture that a running top has drawn."""

    def __init__(self, shell, *words, **options):
        self.running = shell.start("top", "--every", "0.2", *words, terminal=True, **options)

    @property
    def text(self):
        last = self.running.output.rpartition("redispool top")[2]
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last).replace("\r", "")

    def shows(self, *texts):
        wait_until(lambda: all(text in self.text for text in texts) or self.running.process.poll() is not None)
        assert all(text in self.text for text in texts), self.running.output

    def type(self, keys):
        self.running.type(keys.encode())


@pytest.fixture
def busy(shell):
    """A pool in which two accounts are held, and somebody waits."""
    pool = shell.pool([Account("alice", "s3cret"), Account("bob", "s3cret")], name="lab")
    held = [pool.acquire_account(name, f"worker {number}") for number, name in enumerate(("alice", "bob"), 1)]
    waiter = threading.Thread(target=lambda: pool.acquire_account(owner="worker 3", timeout=30).release())
    waiter.start()
    wait_until(lambda: pool.status().waiting)
    yield pool
    for handle in held:
        with suppress(NotHeld):  # the test may have released it
            handle.release()
    waiter.join()


def test_it_shows_pools_holders_and_queue_on_one_screen_and_gives_the_terminal_back(shell, busy):
    shell.pool(3, name="spare")
    screen = Screen(shell)
    screen.shows("lab", "spare", "alice", "worker 1", "worker 2", "Waiting (1)", "worker 3", "Hand-outs a second")
    lines = screen.text.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "s3cret" not in screen.running.output
    screen.type("q")
    assert screen.running.end() == 0
    assert screen.running.output.rindex("\x1b[?1049l") > screen.running.output.rindex("\x1b[?1049h")
    assert screen.running.output.rindex("\x1b[?25h") > screen.running.output.rindex("\x1b[?25l"), "the cursor is back"


def test_keys_release_and_quarantine_what_is_chosen_but_only_after_a_yes(shell, busy):
    screen = Screen(shell)
    screen.shows("worker 2")
    screen.type("sr")  # by account, so alice is the first
    screen.shows("Release account 'alice' of pool 'lab', held by 'worker 1'? y/n")
    screen.type("n")
    screen.shows("nothing was done")
    assert busy.status().held == 2
    screen.type("\x1b[Bx")
    screen.shows("Quarantine account 'bob' of pool 'lab'?")
    screen.type("y")
    screen.shows("quarantined account 'bob'")
    assert busy.status().quarantined == 1
    screen.type("\x1b[Ar")
    screen.shows("Release account 'alice'")
    screen.type("y")
    screen.shows("released account 'alice' of pool 'lab'", "Nobody waits")
    assert [lease.owner for lease in busy.status().leases] == ["worker 2"]
    screen.running.process.send_signal(2)
    assert screen.running.end() == 130
    assert screen.running.output.rindex("\x1b[?1049l") > screen.running.output.rindex("\x1b[?1049h")


def test_keys_sort_filter_and_choose_a_pool(shell, busy):
    spare = shell.pool(1, name="spare")
    with spare.lease(owner="zoe"):
        screen = Screen(shell)
        screen.shows("worker 1", "zoe", "sorted by longest held")
        screen.type("s")
        screen.shows("sorted by account")
        screen.type("/zo")
        screen.shows("Filter: zo_")
        screen.type("\r")
        wait_until(lambda: "filter zo" in screen.text and "worker 1" not in screen.text)
        screen.type("\x1b")
        screen.shows("worker 1", "zoe")
        screen.type("\t")
        wait_until(lambda: "pool lab" in screen.text and "zoe" not in screen.text)
        screen.type("q")
        assert screen.running.end() == 0


def test_it_survives_a_restart_of_the_server_and_says_what_is_wrong_meanwhile(own_shell):
    with own_shell.pool(1).lease(owner="before"):
        screen = Screen(own_shell)
        screen.shows("before")
        own_shell.server.kill()
        screen.shows("cannot reach the Redis server", "before")
        own_shell.server.start()
        wait_until(lambda: "cannot reach" not in screen.text)
    own_shell.pool([Account("new")])
    with own_shell.pool().lease(owner="after"):
        screen.shows("after")
        screen.type("q")
        assert screen.running.end() == 0


def test_a_pool_that_is_chosen_shows_its_figures_however_many_there_are(shell):
    for number in range(7):
        shell.pool(number + 1, name=f"pool{number}")
    screen = Screen(shell)
    screen.shows("pool0", "pool4")
    assert "pool6" not in screen.text
    screen.type("\t" * 7)
    screen.shows("pool pool6", "Free")
    wait_until(lambda: any(line.split()[:3] == ["pool6", "7", "7"] for line in screen.text.splitlines()))


def test_on_a_small_terminal_there_is_room_for_who_holds_what(shell, busy):
    for number in range(7):
        shell.pool(1, name=f"pool{number}")
    screen = Screen(shell, COLUMNS="40", LINES="12")
    screen.shows("lab", "Quar.", "alice", "bob", "Waiting (1)")
    screen.type("r")
    screen.shows("Release account")
    assert max(map(len, screen.text.splitlines())) <= 40
    assert all(line.count("  ") for line in screen.text.splitlines() if line.startswith("lab")), "in one line"


def test_without_a_terminal_it_says_what_there_is_instead(shell):
    status, output = shell.run("top")
    assert status == 2
    assert "status --json" in output


def test_hand_outs_and_waits_are_counted_from_look_to_look(shell, cli_server):
    pool = shell.pool(1)
    watch = Watch(Site.at(cli_server.url, shell.namespace))
    watch.look()
    assert watch.pools[0].rate is None
    assert watch.pools[0].percentile(50) is None
    with pool.lease():
        waiter = threading.Thread(target=lambda: pool.acquire_account(timeout=10).release())
        waiter.start()
        wait_until(lambda: pool.status().waiting)
        watch.look()
    waiter.join()
    watch.look()
    (seen,) = watch.pools
    assert len(seen.waits) == 2
    assert seen.waits[0] == 0.0  # the first did not wait
    assert seen.waits[1] > 0
    assert len(watch.rates) == 2
    assert seen.rate > 0


def test_percentiles_of_known_waits():
    view = PoolView(None, [], None, [float(number) for number in range(100)])
    assert [view.percentile(percent) for percent in (0, 50, 95, 100)] == [0.0, 50.0, 95.0, 99.0]


def test_keys_that_come_together_are_told_apart():
    found = [_NAMES.get(key) or key.decode() for key in _KEY.findall("aé\x1b[A\x1b[5~\rq\x1b".encode())]
    assert found == ["a", "é", "up", "page up", "enter", "q", "escape"]


def test_every_order_is_one_of_those_that_the_key_goes_through(shell, busy, cli_server):
    watch = Watch(Site.at(cli_server.url, shell.namespace))
    watch.look()
    for sort in SORTS:
        rows = View(shell.namespace, sort=sort).rows(watch.pools)
        assert {row.lease.account for row in rows} == {"alice", "bob"}
