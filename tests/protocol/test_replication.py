"""Which answers wait for replicas, and what becomes of those that do so in vain, without Redis."""

from __future__ import annotations

import pytest

from redispool.errors import AcquireTimeout, ReplicationError
from redispool.protocol.channel import PoolChannel
from redispool.protocol.commands import Call, Replication, Unreplicated
from redispool.protocol.flows import LeaseFlows
from redispool.protocol.places import PlaceFlows

from .cases import ANY
from .scripted import KEYS, PATIENCE, SLICE, Raises, Stage, granted, mail, waiting

FEW = Raises(Unreplicated(ReplicationError("0 of the 1 replicas")), 0.5)


@pytest.fixture
def stage():
    """A pool that asks for a replica, and has had no contact yet."""
    made = Stage()
    made.channel = PoolChannel(KEYS, patience=PATIENCE, clock=made.clock, min_replicas=1)
    made.leases = LeaseFlows(made.channel, slice_seconds=SLICE)
    made.places = PlaceFlows(made.channel, slice_seconds=SLICE)
    return made


def waited_for_replicas(stage):
    return [command.replication is not None for command in stage.commands if isinstance(command, Call)]


def test_a_free_account_still_takes_one_command_which_waits(stage):
    stage.play(stage.leases.acquire(ANY, None), ("acquire", granted()))
    (call,) = stage.commands
    assert call.replication == Replication("redispool:{lab}:replicated", 1)


def test_a_hand_off_is_asked_for_once_more_as_another_has_written_it(stage):
    stage.play(
        stage.leases.acquire(ANY, None),
        ("acquire", waiting()), ("block", mail()), ("acquire", granted()),
    )  # fmt: skip
    assert waited_for_replicas(stage) == [True, True]


def test_a_hand_off_of_what_is_never_locked_is_taken_as_it_is(stage):
    (grant,) = stage.play(
        stage.leases.acquire(ANY, None),
        ("acquire", waiting()), ("block", mail(expires=0)), ("cancel return", [b"cancelled"]),
    )  # fmt: skip
    assert grant.token == ""


def test_a_grant_that_a_failover_has_undone_is_waited_for_anew(stage):
    (grant,) = stage.play(
        stage.leases.acquire(ANY, None),
        ("acquire", waiting()), ("block", mail(fence=7)), ("acquire", waiting()), ("block", mail(fence=7)),
        ("acquire", granted(fence=7)),
    )  # fmt: skip
    assert grant.fence == 7


def test_too_few_replicas_are_ridden_out_even_by_who_asks_for_the_first_time(stage):
    stage.play(stage.leases.acquire(ANY, 10), ("acquire", FEW), ("acquire", FEW), ("acquire", granted()))
    assert stage.clock() < 1010


def test_at_the_deadline_what_was_granted_and_not_confirmed_is_given_back(stage):
    with pytest.raises(ReplicationError, match="0 of the 1"):
        stage.play(stage.leases.acquire(ANY, 0.4), ("acquire", FEW), ("cancel return", [b"cancelled"]))
    assert waited_for_replicas(stage) == [True, False]


def test_without_a_deadline_it_is_given_back_when_patience_ends(stage):
    def answer(command):
        return FEW if isinstance(command, Call) and command.script.name == "acquire" else [b"cancelled"]

    with pytest.raises(ReplicationError):
        stage.feed(stage.leases.acquire(ANY, None), answer)
    assert stage.asked[-1] == "cancel return"
    assert stage.clock() == pytest.approx(1000 + PATIENCE, abs=1.0)


def test_a_last_chance_waits_for_replicas_and_gives_back_what_they_do_not_confirm(stage):
    start = (("acquire", waiting()), ("block", None), ("acquire", waiting()))
    stage.play(stage.leases.acquire(ANY, 1.0), *start, ("cancel keep", granted()))
    assert waited_for_replicas(stage) == [True, True, True]
    with pytest.raises(ReplicationError):
        stage.play(
            stage.leases.acquire(ANY, 1.0), *start,
            ("cancel keep", Raises(FEW.error, 1.1)), ("cancel return", [b"cancelled"]),
        )  # fmt: skip
    with pytest.raises(AcquireTimeout):
        stage.play(stage.leases.acquire(ANY, 1.0), *start, ("cancel keep", [b"cancelled"]))


def test_a_renewal_waits_and_a_release_does_not(stage):
    stage.play(stage.leases.renew([("t", 60.0)], None), ("renew", [1_000_000, 1_060_000]))
    stage.play(stage.leases.release("t", 2000.0, None), ("release", [1]))
    assert waited_for_replicas(stage) == [True, False]


def test_a_renewal_that_too_few_confirm_extends_nothing(stage):
    with pytest.raises(ReplicationError):
        stage.play(stage.leases.renew([("t", 60.0)], None), ("renew", FEW))


def test_a_visit_in_vain_keeps_no_account(stage):
    stage.channel.patience = 0.0
    with pytest.raises(ReplicationError):
        stage.play(stage.places.visit(ANY, None, 5.0), ("acquire", FEW), ("cancel return", [b"cancelled"]))


def test_a_pool_that_asks_for_no_replicas_waits_for_none():
    stage = Stage()
    stage.play(stage.leases.acquire(ANY, None), ("acquire", waiting()), ("block", mail()))
    assert waited_for_replicas(stage) == [False]
