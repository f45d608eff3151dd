"""The acquire flow without Redis: what it asks, when, and what it makes of the answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from redispool.errors import AcquireTimeout, PoolEmpty, ProtocolMismatch, UnknownAccount
from redispool.protocol.commands import Block, Call, Pause
from redispool.protocol.requests import Request, milliseconds

from .cases import ANY, PARTICULAR
from .scripted import SLICE, Replies, Stage, granted, mail, outage, waiting


@pytest.fixture
def stage():
    return Stage()


def blocks(stage: Stage) -> list[float]:
    return [command.seconds for command in stage.commands if isinstance(command, Block)]


# -- what it asks ------------------------------------------------------------------------------------------------


def test_a_free_account_takes_one_command(stage):
    stage.play(stage.leases.acquire(ANY, None), ("acquire", granted()))
    assert stage.asked == ["acquire"]


def test_a_handed_over_account_takes_one_script_and_one_block(stage):
    stage.play(stage.leases.acquire(ANY, None), ("acquire", waiting()), ("block", mail()))
    assert stage.asked == ["acquire", "block"]


def test_the_request_is_written_out_in_whole_milliseconds_and_microseconds(stage):
    request = Request(token="t", box="b", owner="me", ttl=0.0501, account="a1", priority=2)
    stage.play(stage.leases.acquire(request, None), ("acquire", granted()))
    arguments = stage.commands[0].arguments[2:]
    assert arguments == ("me", "51", str(milliseconds(3 * SLICE)), "a1", "", "b", "120000000", "", "", "t")


def test_a_request_for_nothing_special_is_written_out_in_few_words(stage):
    request = Request(token="t", box="t", owner="me", ttl=60.0)
    stage.play(stage.leases.acquire(request, None), ("acquire", granted()))
    assert stage.commands[0].arguments[2:] == ("me", "60000", str(milliseconds(3 * SLICE)), "t")


def test_its_block_names_its_own_mailbox_and_token(stage):
    request = Request(token="t", box="shared", owner="me", ttl=60.0)
    stage.play(stage.leases.acquire(request, None), ("acquire", waiting()), ("block", mail()))
    block = stage.commands[1]
    assert (block.mailbox, block.token, block.seconds) == ("redispool:{lab}:mail:shared", "t", SLICE)


@pytest.mark.parametrize(("timeout", "most"), [(None, 60.0), (5.0, 5.0)])
def test_one_of_many_at_a_mailbox_blocks_for_longer_but_not_beyond_the_deadline(stage, timeout, most):
    stage.play(stage.leases.acquire(replace(ANY, box="shared"), timeout), ("acquire", waiting()), ("block", mail()))
    assert SLICE < stage.commands[1].longest <= most


def test_every_further_poll_is_the_same_request_with_the_stamp_that_keeps_its_place(stage):
    stage.play(
        stage.leases.acquire(ANY, None),
        ("acquire", waiting(stamp=b"17")), ("block", None), ("acquire", waiting(stamp=b"17")), ("block", mail()),
    )  # fmt: skip
    first, second = (command.arguments for command in stage.commands if isinstance(command, Call))
    assert second[2:] == (*first[2:-1], "", "", "", "", b"17", "", "t")


def test_types_are_checked_until_a_script_has_gone_through_and_no_longer(stage):
    with pytest.raises(ProtocolMismatch):
        stage.play(stage.leases.acquire(ANY, None), ("acquire", [b"wrongtype", b"k", b"list", b"hash"]))
    for _ in range(2):
        stage.play(stage.leases.acquire(ANY, None), ("acquire", granted()))
    assert [command.arguments[1] for command in stage.commands] == ["1", "1", ""]


# -- how long it blocks ------------------------------------------------------------------------------------------


def first_block(stage: Stage, reply, timeout=None, ttl=60.0) -> float:
    request = Request(token="t", box="t", owner="me", ttl=ttl)
    stage.play(stage.leases.acquire(request, timeout), ("acquire", reply), ("block", mail()))
    return blocks(stage)[0]


@pytest.mark.parametrize(
    ("reply", "timeout", "ttl", "seconds"),
    [
        (waiting(), None, 60.0, SLICE),  # nothing ends by itself
        (waiting(next_end=300), None, 60.0, 0.301),  # one ms later than the lease ends
        (waiting(next_end=300, rank=4), None, 60.0, 0.301),  # the fifth in line is one of the first few
        (waiting(next_end=300, rank=5), None, 60.0, SLICE),  # the others need not all come running
        (waiting(next_end=0, rank=500), None, 60.0, 0.001),  # the script has more to reclaim: ask again
        (waiting(next_end=300, rank=None), None, 60.0, 0.301),
        (waiting(next_end=90_000), None, 60.0, SLICE),
        (waiting(next_end=-1), None, 0.5, 0.5),  # whoever polls once a TTL knows of each lease in time
        (waiting(), 0.75, 60.0, 0.75),  # never beyond the deadline
        (waiting(next_end=300), 0.1, 60.0, 0.1),
        (waiting(), 1e-9, 60.0, 0.001),  # 0 would block for ever
    ],
)
def test_a_slice_ends_when_there_is_something_to_do(stage, reply, timeout, ttl, seconds):
    assert first_block(stage, reply, timeout, ttl) == pytest.approx(seconds)


@pytest.mark.parametrize("timeout", [0.3, 1.0, 2.0, 5.0, 17.3])
def test_slices_never_go_beyond_the_deadline_and_together_fill_it(stage, timeout):
    said = {"acquire": waiting(), "block": None, "cancel keep": [b"cancelled"]}
    began = stage.clock()
    with pytest.raises(AcquireTimeout, match=r"'lab' did not come free within"):
        stage.feed(stage.leases.acquire(ANY, timeout), lambda command: said[stage.asked[-1]])
    assert stage.clock() - began == pytest.approx(timeout)
    assert max(blocks(stage)) <= SLICE
    assert sum(blocks(stage)) == pytest.approx(timeout)
    assert stage.asked[-2:] == ["acquire", "cancel keep"]


def test_a_slow_reply_leaves_less_to_block_for(stage):
    stage.play(stage.leases.acquire(ANY, 1.0), ("acquire", Replies(waiting(), after=0.7)), ("block", mail()))
    assert blocks(stage) == [pytest.approx(0.3)]


def test_a_reply_that_comes_after_the_deadline_leaves_no_time_to_block(stage):
    with pytest.raises(AcquireTimeout):
        stage.play(
            stage.leases.acquire(ANY, 1.0),
            ("acquire", Replies(waiting(), after=1.5)), ("cancel keep", [b"cancelled"]),
        )  # fmt: skip
    assert stage.asked == ["acquire", "cancel keep"]


# -- the end of its time -----------------------------------------------------------------------------------------


def test_without_waiting_it_asks_exactly_once(stage):
    with pytest.raises(AcquireTimeout, match="0 seconds"):
        stage.play(stage.leases.acquire(ANY, 0.0), ("acquire", [b"busy", 0]))
    assert stage.asked == ["acquire"]
    assert stage.commands[0].arguments[6] == "0"  # do not wait


def test_without_waiting_it_asks_again_while_the_server_has_more_to_reclaim(stage):
    script = [("acquire", [b"busy", 1])] * 3 + [("acquire", [b"busy", 0])]
    with pytest.raises(AcquireTimeout):
        stage.play(stage.leases.acquire(ANY, 0.0), *script)


def test_a_grant_on_its_way_when_the_time_is_up_is_taken(stage):
    (grant,) = stage.play(
        stage.leases.acquire(ANY, 0.5),
        ("acquire", waiting()), ("block", None), ("acquire", waiting()), ("cancel keep", granted(1_000_500)),
    )  # fmt: skip
    assert grant.token == "t"
    assert grant.valid_until == pytest.approx(1060.0)


def test_a_grant_in_the_last_poll_after_the_deadline_is_taken(stage):
    (grant,) = stage.play(
        stage.leases.acquire(ANY, 0.5), ("acquire", waiting()), ("block", None), ("acquire", granted(1_000_500))
    )
    assert grant.account == "a1"


def test_the_timeout_names_the_account_that_was_wanted(stage):
    with pytest.raises(AcquireTimeout, match=r"account 'a1' of pool 'lab'"):
        stage.play(stage.leases.acquire(PARTICULAR, 0.0), ("acquire", [b"busy", 0]))


def test_ctrl_c_during_the_last_chance_gives_back_what_it_may_have_taken(stage):
    with pytest.raises(KeyboardInterrupt):
        stage.play(
            stage.leases.acquire(ANY, 0.5),
            ("acquire", waiting()), ("block", None), ("acquire", waiting()),
            ("cancel keep", KeyboardInterrupt()), ("cancel return", [b"cancelled"]),
        )  # fmt: skip


def test_a_second_ctrl_c_ends_the_cleaning_up(stage):
    second = KeyboardInterrupt("second")
    with pytest.raises(KeyboardInterrupt) as caught:
        stage.play(
            stage.leases.acquire(ANY, None),
            ("acquire", waiting()), ("block", KeyboardInterrupt("first")), ("cancel return", second),
        )  # fmt: skip
    assert caught.value is second


def test_an_outage_at_the_deadline_holds_the_caller_up_for_a_last_word_only():
    stage = Stage(contacted=True)

    def answer(command):
        if isinstance(command, Pause):
            return None
        return {"acquire": waiting(), "block": None}.get(stage.asked[-1]) or (
            None if stage.asked[-1] == "block" else outage()
        )

    with pytest.raises(Exception, match="no route"):
        stage.feed(stage.leases.acquire(ANY, 3.0), answer)
    assert stage.clock() - stage.began_at(0) <= 3.0 + 2.1  # it tries to take its grant, then to give it back


def test_in_an_outage_it_is_the_deadline_that_ends_the_patience(stage):
    with pytest.raises(Exception, match="no route"):
        stage.feed(
            stage.leases.acquire(ANY, 5.0),
            lambda command: (
                {"pause": None, "acquire": waiting()}.get(stage.asked[-1])
                if stage.asked[-1] == "pause" or len(stage.commands) == 1
                else outage()
            ),
        )
    assert 5.0 <= stage.clock() - stage.began_at(0) <= 5.0 + 1.1


# -- answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        (b"empty", PoolEmpty, "add_account"),
        (b"unknown", UnknownAccount, "'a1' is not in pool 'lab'"),
        (b"nonsense", ProtocolMismatch, "unexpected reply"),
    ],
)
def test_what_waits_in_vain_is_told_at_once_or_by_mail(stage, reply, error, message):
    with pytest.raises(error, match=message):
        stage.play(stage.leases.acquire(PARTICULAR, None), ("acquire", [reply]))
    with pytest.raises(error, match=message):
        stage.play(
            stage.leases.acquire(PARTICULAR, None),
            ("acquire", waiting()), ("block", reply + b"\nt"),
            ("cancel return", [b"cancelled"]),  # it may have joined the queue again since the mail was sent
        )  # fmt: skip


def test_a_grant_that_was_read_after_its_end_is_not_handed_out_but_asked_for_again(stage):
    (grant,) = stage.play(
        stage.leases.acquire(ANY, None),
        ("acquire", waiting()), ("block", Replies(mail(), after=61.0)),
        ("acquire", granted(1_061_000, expires=1_121_000)),
    )  # fmt: skip
    assert grant.valid_until == pytest.approx(1121.0)


def test_a_mail_for_an_account_that_is_never_locked_names_its_reader_and_holds_nothing(stage):
    (grant,) = stage.play(
        stage.leases.acquire(ANY, None),
        ("acquire", waiting()), ("block", mail(expires=0)),
        ("cancel return", [b"cancelled"]),  # it may have joined the queue again since the mail was sent
    )  # fmt: skip
    assert (grant.token, grant.account) == ("", "a1")


def test_a_lost_mail_is_made_good_by_the_next_poll(stage):
    (grant,) = stage.play(
        stage.leases.acquire(ANY, None), ("acquire", waiting()), ("block", outage()), ("acquire", granted())
    )
    assert grant.token == "t"
    assert stage.asked == ["acquire", "block", "pause", "acquire"]


def test_the_seat_of_an_account_of_several_sessions_is_not_its_name(stage):
    (grant,) = stage.play(stage.leases.acquire(ANY, None), ("acquire", granted(seat="a1\t3")))
    assert grant.account == "a1"


def test_a_record_of_several_lines_arrives_whole(stage):
    reply = [b"granted", 1_000_000, mail() + b"\n\n\x00 more"]
    (grant,) = stage.play(stage.leases.acquire(ANY, None), ("acquire", reply))
    assert grant.record == b'1\n{"password":"x"}\n\n\x00 more'


# -- until when it may be used -----------------------------------------------------------------------------------


def test_a_grant_is_valid_from_when_it_was_asked_not_from_when_the_answer_came(stage):
    (grant,) = stage.play(stage.leases.acquire(ANY, None), ("acquire", Replies(granted(), after=3.0)))
    assert grant.valid_until == pytest.approx(1060.0)
    assert grant.expires_at == 1060.0


def test_after_an_outage_it_counts_from_the_send_that_was_answered():
    stage = Stage(contacted=True)
    (grant,) = stage.play(
        stage.leases.acquire(ANY, None), ("acquire", outage(after=5.0)), ("acquire", granted(server_now=1_005_000))
    )
    asked = stage.began_at(2)
    assert grant.valid_until == pytest.approx(asked + 55.0)


@pytest.mark.parametrize("reply_took", [0.0, 0.4])
@pytest.mark.parametrize("mail_came_after", [0.0, 0.2, 1.9])
def test_a_mailed_grant_never_outlives_the_servers(stage, reply_took, mail_came_after):
    """The server's clock is 1,000,000 ms when ours is 1000.0; the script ran when its reply was sent, at the latest."""
    server_ran_at = stage.clock() + reply_took  # it may have run earlier
    server_now = round(server_ran_at * 1000)
    granted_at = server_now + round(mail_came_after * 1000)
    (grant,) = stage.play(
        stage.leases.acquire(ANY, None),
        ("acquire", Replies(waiting(server_now=server_now), after=reply_took)),
        ("block", Replies(mail(expires=granted_at + 60_000), after=mail_came_after)),
    )
    assert grant.valid_until <= (granted_at + 60_000) / 1000 + 1e-9
    assert grant.valid_until >= (granted_at + 60_000) / 1000 - reply_took - 1e-9


def test_a_mailed_grant_is_valid_for_a_ttl_at_most_however_the_servers_clock_was_set_since_the_request(stage):
    (grant,) = stage.play(
        stage.leases.acquire(ANY, None),
        ("acquire", waiting(server_now=1_000_000)), ("block", Replies(mail(expires=1_661_000), after=1.0)),
    )  # fmt: skip
    assert grant.valid_until <= 1000.0 + 1.0 + ANY.ttl
