"""What changes or shows the members of a pool, without Redis."""

from __future__ import annotations

import pytest

from redispool.errors import AccountExists, ProtocolMismatch, UnknownAccount
from redispool.protocol.commands import Plain

from .cases import FOUND, RECORD
from .scripted import Stage


@pytest.fixture
def stage():
    return Stage()


def rows(count: int) -> list[tuple[str, str, bytes]]:
    return [(f"a{number}", f"h{number}", RECORD) for number in range(count)]


# -- add ---------------------------------------------------------------------------------------------------------


def test_nothing_is_written_where_the_keys_are_somebody_elses(stage):
    with pytest.raises(ProtocolMismatch):
        stage.play(stage.members.add(rows(1), 1, None), ("lookup", [b"wrongtype", b"k", b"list", b"string"]))
    assert stage.asked == ["lookup"]
    assert stage.commands[0].arguments[1] == "1"


def test_after_a_mismatch_the_next_try_looks_again(stage):
    for _ in range(2):
        with pytest.raises(ProtocolMismatch):
            stage.play(stage.members.add(rows(1), 1, None), ("lookup", [b"wrongtype", b"k", b"list", b"string"]))
    assert [command.arguments[1] for command in stage.commands] == ["1", "1"]


def test_a_pool_is_registered_once_before_its_first_account(stage):
    stage.play(stage.members.add(rows(1), 1, None), ("lookup", [None]), ("SADD", 1), ("add", [1]))
    stage.play(stage.members.add(rows(1), 1, None), ("add", [0]))
    assert stage.commands[1] == Plain(("SADD", "redispool:pools", "lab"))


def test_many_accounts_are_added_in_chunks_with_progress(stage):
    said = []
    added = stage.play(
        stage.members.add(iter(rows(1001)), 1001, lambda *figures: said.append(figures)),
        ("lookup", [None]), ("SADD", 1), ("add", [500]), ("add", [499]), ("add", [1]),
    )  # fmt: skip
    assert added == 1000
    assert said == [(500, 1001), (1000, 1001), (1001, 1001)]
    assert [len(command.arguments) for command in stage.commands[2:]] == [1502, 1502, 5]


def test_adding_nothing_asks_nothing(stage):
    assert stage.play(stage.members.add([], 0, None)) == 0
    assert stage.commands == []


# -- remove ------------------------------------------------------------------------------------------------------


def test_an_unknown_account_is_named_before_any_is_removed(stage):
    with pytest.raises(UnknownAccount, match="'a2' is not in pool 'lab'"):
        stage.play(stage.members.remove([("a1", "h1"), ("a2", "h2")]), ("lookup", [*FOUND, None]))
    assert stage.asked == ["lookup"]


def test_many_accounts_are_removed_in_chunks(stage):
    names = [(name, hashed) for name, hashed, _ in rows(201)]
    found = [[name.encode(), RECORD] for name, _ in names]
    stage.play(stage.members.remove(names), ("lookup", found), ("remove", [100]), ("remove", [100]), ("remove", [1]))
    assert stage.commands[-1].arguments[2:] == ("a200", "h200")


# -- replace -----------------------------------------------------------------------------------------------------


def renamed(record: bytes) -> tuple[str, str, bytes]:
    return "new", "h2", record + b"!"


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [(b"exists", AccountExists, "has an account 'new' already"), (b"unknown", UnknownAccount, "'a1' is not in pool")],
)
def test_a_change_that_is_refused_says_why(stage, reply, error, message):
    with pytest.raises(error, match=message):
        stage.play(stage.members.replace("a1", "h1", renamed), ("lookup", FOUND), ("replace", [reply]))


def test_a_change_to_an_account_that_is_gone_is_not_sent(stage):
    with pytest.raises(UnknownAccount):
        stage.play(stage.members.replace("a1", "h1", renamed), ("lookup", [None]))


def test_a_change_is_made_anew_on_what_another_host_wrote_meanwhile(stage):
    stage.play(
        stage.members.replace("a1", "h1", renamed),
        ("lookup", [[b"a1", b"1\nold"]]), ("replace", [b"changed"]),
        ("lookup", [[b"a1", b"1\nnewer"]]), ("replace", [b"done"]),
    )  # fmt: skip
    assert stage.commands[1].arguments[2:] == ("a1", "h1", b"1\nold", "new", "h2", b"1\nold!")
    assert stage.commands[3].arguments[2:] == ("a1", "h1", b"1\nnewer", "new", "h2", b"1\nnewer!")


def test_an_error_of_the_change_itself_comes_out_and_nothing_is_sent(stage):
    def fails(record):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        stage.play(stage.members.replace("a1", "h1", fails), ("lookup", FOUND))
    assert stage.asked == ["lookup"]


# -- looking -----------------------------------------------------------------------------------------------------


def test_many_accounts_are_looked_up_in_chunks_and_keep_their_order(stage):
    names = [f"a{number}" for number in range(501)]
    found = stage.play(
        stage.members.lookup("name", names),
        ("lookup", [[name.encode(), RECORD] for name in names[:500]]), ("lookup", [None]),
    )  # fmt: skip
    assert found == [(name, RECORD) for name in names[:500]] + [None]


def test_names_come_page_by_page(stage):
    page = [word for number in range(1000) for word in (0, b"a%d" % number)]
    names = stage.play(stage.members.names("members"), ("names", page), ("names", [0, b"last"]))
    assert names == [*(f"a{number}" for number in range(1000)), "last"]
    pages = [("members", "0", "999"), ("members", "1000", "1999")]
    assert [command.arguments[2:] for command in stage.commands] == pages


def test_a_full_last_page_is_followed_by_an_empty_one(stage):
    page = [word for number in range(1000) for word in (0, b"a%d" % number)]
    assert len(stage.play(stage.members.names("members"), ("names", page), ("names", []))) == 1000


def test_stale_entries_of_the_rotation_are_left_out(stage):
    """'b' was taken out of turn and came back: its turn is its last entry; all of 'c' is stale."""
    reply = [2, b"b", 1, b"a", -1, b"c", 2, b"b"]
    assert stage.play(stage.members.names("rotation"), ("names", reply)) == ["a", "b"]


@pytest.mark.parametrize("name", [b"mismatch", b"wrongtype", b"again"])
def test_an_account_may_be_named_like_a_reply_of_the_scripts(stage, name):
    assert stage.play(stage.members.names("members"), ("names", [1, name])) == [name.decode()]
    found = [[name, RECORD]]
    assert stage.play(stage.members.lookup("name", [name.decode()]), ("lookup", found)) == [(name.decode(), RECORD)]


# -- reset -------------------------------------------------------------------------------------------------------


def test_reset_goes_on_until_nothing_is_left(stage):
    stage.play(stage.members.reset(), ("reset", [900]), ("reset", [400]), ("reset", [0]))


def test_a_pool_that_left_no_trace_is_registered_again_by_its_next_account(stage):
    stage.play(stage.members.add(rows(1), 1, None), ("lookup", [None]), ("SADD", 1), ("add", [1]))
    stage.play(stage.members.reset(leave_no_trace=True), ("reset", [0]), ("SREM", 1))
    stage.play(stage.members.add(rows(1), 1, None), ("lookup", [None]), ("SADD", 1), ("add", [1]))
