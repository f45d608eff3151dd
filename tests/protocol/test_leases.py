"""Release and renewal without Redis."""

from __future__ import annotations

import pytest

from redispool.errors import LeaseLost
from redispool.protocol.requests import milliseconds

from .scripted import SLICE, Outage, Replies, Stage, outage


@pytest.fixture
def stage():
    return Stage(contacted=True)


@pytest.mark.parametrize(("seconds", "whole"), [(0, 0), (0.05, 50), (0.0501, 51), (0.0499999, 50), (60, 60_000)])
def test_milliseconds_are_never_fewer_than_were_asked_for(seconds, whole):
    assert milliseconds(seconds) == whole


# -- release -----------------------------------------------------------------------------------------------------


def test_a_release_says_how_long_the_seat_rests(stage):
    stage.play(stage.leases.release("t", 2000.0, 1.5), ("release", [1]))
    assert stage.commands[0].arguments[2:] == ("1500", "t")


def test_a_token_that_is_gone_before_its_time_was_released_by_an_earlier_send(stage):
    stage.play(stage.leases.release("t", 1000.1, 0.0), ("release", outage(after=5.0)), ("release", [0]))


def test_a_token_that_is_gone_though_nothing_was_sent_before_was_taken_away(stage):
    with pytest.raises(LeaseLost, match="'lab' ended before"):
        stage.play(stage.leases.release("t", 1000.1, 0.0), ("release", [0]))


def test_a_token_that_is_gone_was_released_by_a_call_before_that_nobody_answered(stage):
    stage.play(stage.leases.release("t", 1000.1, 0.0, sent_before=True), ("release", [0]))


def test_a_token_that_is_gone_after_its_time_was_lost(stage):
    with pytest.raises(LeaseLost, match="'lab' ended before"):
        stage.play(stage.leases.release("t", 999.9, 0.0), ("release", [0]))


def test_a_lease_known_to_be_lost_is_reported_though_its_time_is_not_up(stage):
    with pytest.raises(LeaseLost):
        stage.play(stage.leases.release("t", float("-inf"), 0.0), ("release", [0]))


def test_a_lease_that_the_server_still_had_was_not_lost_whatever_our_clock_says(stage):
    stage.play(stage.leases.release("t", 999.9, 0.0), ("release", [1]))


# -- release by owner --------------------------------------------------------------------------------------------


def test_everything_of_an_owner_is_released_page_by_page(stage):
    pages = [[b"t%d" % number for number in range(start, start + 1000)] for start in (0, 1000)] + [[b"last"]]
    script = [line for page in pages for line in (("owned", [b"owned", *page]), ("release", [1] * len(page)))]
    assert stage.play(stage.leases.release_owner("me"), *script) == 2001


def test_an_owners_token_that_never_goes_away_does_not_hold_the_caller_for_ever(stage):
    """The set of an owner's tokens is an index: it may name one that holds nothing."""
    page = [b"t%d" % number for number in range(999)] + [b"ghost"]
    released = stage.play(
        stage.leases.release_owner("me"),
        ("owned", [b"owned", *page]),
        ("release", [1] * 999 + [0]),
        ("owned", [b"owned", b"ghost"]),
    )
    assert released == 1000


def test_what_owners_have_is_listed_page_by_page_when_somebody_first_asks(stage):
    released = stage.play(
        stage.leases.release_owner("me"),
        ("owned", [b"unlisted"]), ("enlist", [0]), ("enlist", [1]), ("owned", [b"owned", b"t"]), ("release", [1]),
    )  # fmt: skip
    assert released == 1


def test_what_those_who_wait_for_the_same_owner_are_given_meanwhile_is_theirs(stage):
    assert stage.play(stage.leases.release_owner("me"), ("owned", [b"owned", b"t1"]), ("release", [1])) == 1


def test_a_page_of_known_and_new_tokens_releases_the_new_ones(stage):
    page = [b"t%d" % number for number in range(999)] + [b"ghost"]
    stage.play(
        stage.leases.release_owner("me"),
        ("owned", [b"owned", *page]), ("release", [1] * 999 + [0]),
        ("owned", [b"owned", b"ghost", b"new"]), ("release", [1]),
    )  # fmt: skip
    assert stage.commands[3].arguments[2:] == ("", b"new")


# -- renewal -----------------------------------------------------------------------------------------------------


def test_each_lease_gets_its_own_answer_in_the_order_asked_duplicates_too(stage):
    renewed = stage.play(
        stage.leases.renew([("a", 10.0), ("b", 20.0), ("a", 30.0)], None),
        ("renew", [1_000_000, 1_010_000, 0, 1_030_000]),
    )
    assert renewed == [(1010.0, 1010.0), None, (1030.0, 1030.0)]
    assert stage.commands[0].arguments[2:] == ("a", "10000", "0", "b", "20000", "0", "a", "30000", "0")


def test_max_lease_is_sent_with_every_lease(stage):
    stage.play(stage.leases.renew([("a", 10.0)], 90.0), ("renew", [1_000_000, 1_010_000]))
    assert stage.commands[0].arguments[2:] == ("a", "10000", "90000")


def test_many_leases_are_renewed_in_several_calls_and_keep_their_order(stage):
    leases = [(f"t{number}", 10.0) for number in range(601)]
    replies = [
        ("renew", [1_000_000, *(1_010_000 + number for number in range(start, min(start + 300, 601)))])
        for start in (0, 300, 600)
    ]
    renewed = stage.play(stage.leases.renew(leases, None), *replies)
    assert [expires for expires, _ in renewed] == [1010.0 + number / 1000 for number in range(601)]


def test_a_renewal_counts_from_when_it_was_asked(stage):
    renewed = stage.play(stage.leases.renew([("a", 10.0)], None), ("renew", Replies([1_000_900, 1_010_900], after=0.9)))
    assert renewed == [(1010.9, pytest.approx(1010.0))]


def test_nothing_to_renew_asks_nothing(stage):
    assert stage.play(stage.leases.renew([], None)) == []
    assert stage.commands == []


def test_an_outage_between_two_calls_of_a_renewal_comes_out_at_once(stage):
    leases = [(f"t{number}", 10.0) for number in range(301)]
    with pytest.raises(Outage):
        stage.play(stage.leases.renew(leases, None), ("renew", [1_000_000, *[1_010_000] * 300]), ("renew", outage()))


# -- a mailbox at which many wait --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "attended_at", "well", "seconds"),
    [
        ([1, -1], 999.0, True, SLICE),
        ([1, 300], 999.0, True, 0.301),
        ([1, 0], 999.0, True, 0.001),  # more to reclaim
        ([1, 90_000], 999.0, True, SLICE),
        ([0, -1], 999.0, False, SLICE),  # taken for dead, or the pool is empty
        ([1, -1], 1000.0 - 3 * SLICE, False, SLICE),  # its presence has run out meanwhile, and may have been seen so
    ],
)
def test_attending_says_whether_those_who_wait_must_ask_again_and_when_to_come_back(
    stage, reply, attended_at, well, seconds
):
    result = stage.play(stage.leases.attend("box", attended_at), ("attend", reply))
    assert result == (well, 1000.0, pytest.approx(seconds))
    assert stage.commands[0].arguments[2:] == ("box", str(milliseconds(3 * SLICE)))


def test_after_an_outage_that_outlasted_its_presence_they_must_ask_again(stage):
    well, asked, _ = stage.play(
        stage.leases.attend("box", 999.0), ("attend", outage(after=3 * SLICE)), ("attend", [1, -1])
    )
    assert not well
    assert asked >= 1006.0
