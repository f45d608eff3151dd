"""The flows that show and rule a pool, without Redis."""

from __future__ import annotations

import pytest

from redispool.errors import ConfigError, NotHeld, ProtocolMismatch, UnknownAccount
from redispool.protocol.oversight import EventRow, hand_outs_a_second

from .scripted import Stage


@pytest.fixture
def stage():
    return Stage()


def test_leases_come_page_by_page_oldest_grant_first(stage):
    def lease(number: int) -> list[bytes]:
        return [b"t%d" % number, b"1060000", b"a%d\nme\n%d\n1000000\n" % (number, number)]

    first = [word for number in range(1000, 0, -1) for word in lease(number)]
    figures = stage.play(
        stage.oversight.inspect(),
        ("inspect", [1_000_000, 1001, 0, 1001, 0, 0, 0, 0, b"", 1000, *first]),
        ("inspect", [1_000_100, 1001, 0, 1001, 0, 0, 0, 0, b"", 2, *lease(1), *lease(1001)]),
    )
    assert [row.fence for row in figures.leases] == list(range(1, 1002))
    assert figures.at == 1000.1


def test_figures_alone_ask_for_no_leases(stage):
    figures = stage.play(stage.oversight.inspect(leases=False), ("inspect", [1_000_000, 3, 1, 2, 0, 0, 0, 0, b"", 0]))
    assert (figures.accounts, figures.leases) == (3, ())
    assert stage.commands[0].arguments[2:] == ("1", "0")


def test_a_lease_of_which_the_index_knows_nothing_is_left_out(stage):
    reply = [
        1_000_000,
        1,
        0,
        2,
        0,
        0,
        0,
        0,
        b"",
        2,
        b"ghost",
        b"1060000",
        b"",
        b"t",
        b"1060000",
        b"a1\nme\n7\n1000000\n",
    ]
    figures = stage.play(stage.oversight.inspect(), ("inspect", reply))
    assert [row.token for row in figures.leases] == ["t"]


def test_events_are_read_page_by_page_until_there_are_enough(stage):
    def entry(number):
        return [b"%d-0" % number, [b"granted", b"a%d\no\n1\nt\n\n" % (number % 2)]]

    page = [entry(number) for number in range(2000, 1500, -1)]
    rows = stage.play(stage.oversight.events("a1", 300), ("XREVRANGE", page), ("XREVRANGE", [entry(7), entry(5)]))
    assert [row.at for row in rows][-2:] == [0.007, 0.005]
    assert len(rows) == 252
    assert stage.commands[1].words[2] == "(1501-0"


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        ([b"held", b"alice"], ConfigError, "held by 'alice'"),
        ([b"unlocked"], ConfigError, "needs_lock=False"),
        ([b"past"], ConfigError, "is past"),
        ([b"unknown"], UnknownAccount, "'a1'"),
        ([b"what"], ProtocolMismatch, "what"),
    ],
)
def test_a_reservation_that_cannot_be_says_why(stage, reply, error, says):
    flow = stage.oversight.reserve("t", "a1", "bob", 2000.0, "", "me", force=False)
    with pytest.raises(error, match=says):
        stage.play(flow, ("reserve", reply))


@pytest.mark.parametrize(("holder", "says"), [(b"alice", "held by 'alice'"), (b"", "nobody holds it")])
def test_releasing_what_the_owner_does_not_hold_says_who_does(stage, holder, says):
    with pytest.raises(NotHeld, match=says):
        stage.play(stage.oversight.revoke("a1", "bob", "me", "t", force=False), ("revoke", [b"done", 0, holder]))


def test_a_policy_that_redispool_did_not_write_is_a_mismatch(stage):
    with pytest.raises(ProtocolMismatch):
        stage.play(stage.oversight.configure({}), ("configure", [b"[1]"]), ("SADD", 1))


def test_the_rate_of_hand_outs_needs_two_of_them():
    events = [EventRow(at, "granted", "a", "o", 1, "") for at in (10.0, 8.0, 6.0)]
    assert hand_outs_a_second(events, 12.0) == pytest.approx(0.5)
    assert hand_outs_a_second(events[:1], 12.0) is None
