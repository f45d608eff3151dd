"""How a flow rides out an outage, without Redis."""

from __future__ import annotations

import gc
import weakref

import pytest

from redispool.drivers import run
from redispool.protocol import scripts
from redispool.protocol.channel import Channel
from redispool.protocol.commands import Pause, Plain, Unanswered

from .scripted import Outage, Stage, outage, word

PING = Plain(("PING",))


@pytest.fixture
def stage():
    return Stage(contacted=True)


def pauses(stage: Stage) -> list[float]:
    return [command.seconds for command in stage.commands if isinstance(command, Pause)]


def never(command):
    return None if isinstance(command, Pause) else outage()


def test_the_reply_comes_with_the_time_it_was_asked_at(stage):
    assert stage.play(stage.channel.send(PING), ("PING", b"PONG")) == (1000.0, b"PONG")


def test_pauses_grow_with_jitter_up_to_a_second(stage):
    with pytest.raises(Outage):
        stage.feed(stage.channel.send(PING), never)
    grown = pauses(stage)[:-1]  # the last one is cut at the end of patience
    for number, seconds in enumerate(grown):
        longest = min(0.01 * 2**number, 1.0)
        assert longest / 2 <= seconds <= longest
    assert len(set(grown)) == len(grown), "without jitter, all clients would come back at the same instant"


def test_patience_counts_from_when_the_outage_began_and_the_last_try_is_at_its_end(stage):
    with pytest.raises(Outage):
        stage.feed(stage.channel.send(PING), never)
    assert stage.clock() == pytest.approx(1030.0, abs=0.01)
    assert stage.asked[-2:] == ["pause", "PING"]


def test_a_deadline_takes_the_place_of_patience(stage):
    with pytest.raises(Outage):
        stage.feed(stage.channel.send(PING, 1003.0), never)
    assert stage.clock() == pytest.approx(1003.0, abs=0.01)


def test_a_deadline_that_is_over_allows_one_try(stage):
    with pytest.raises(Outage):
        stage.feed(stage.channel.send(PING, 999.0), never)
    assert stage.asked == ["PING"]


def test_no_patience_allows_one_try(stage):
    with pytest.raises(Outage):
        stage.feed(stage.channel.send(PING, patience=0.0), never)
    assert stage.asked == ["PING"]


def test_each_outage_has_its_own_patience(stage):
    for _ in range(3):
        stage.play(stage.channel.send(PING), ("PING", outage(after=20.0)), ("PING", b"PONG"))


def test_the_first_contact_is_over_with_the_first_reply():
    stage = Stage()
    with pytest.raises(Outage):
        stage.feed(stage.channel.send(PING), never)
    stage.play(stage.channel.send(PING), ("PING", b"PONG"))
    stage.play(stage.channel.send(PING), ("PING", outage()), ("PING", b"PONG"))


def test_the_cause_comes_out_bare_without_the_flows_own_exception(stage):
    with pytest.raises(Outage) as caught:
        stage.feed(stage.channel.send(PING, patience=0.0), never)
    assert caught.value.__suppress_context__


class Handle:
    """What a flow gives to its caller, who drops it."""


class Failing:
    """A wire that meets so many outages before it carries anything."""

    def __init__(self, outages: int) -> None:
        self.outages = outages

    def perform(self, command):
        if isinstance(command, Pause):
            return None
        self.outages -= 1
        if self.outages >= 0:
            raise Unanswered(Outage("gone"))
        return [b"PONG"]


@pytest.mark.parametrize("outages", [0, 1, 2, 5])
@pytest.mark.parametrize("asking", [lambda channel: channel.send(PING), lambda channel: channel.call(scripts.INSPECT)])
def test_an_outage_that_is_over_keeps_alive_nothing_that_was_dropped(stage, asking, outages):
    def flow():
        yield from asking(stage.channel)
        return Handle()

    gc.disable()  # which would find it in the end
    try:
        handle = weakref.ref(run(flow(), Failing(outages)))
        assert handle() is None
    finally:
        gc.enable()


def test_a_channel_without_a_pool_does_the_same():
    stage = Stage()
    channel = Channel(patience=1.0, clock=stage.clock)
    channel.contacted = True
    assert stage.play(channel.send(PING), ("PING", outage()), ("PING", b"PONG"))[1] == b"PONG"
    assert [word(command) for command in stage.commands] == ["PING", "pause", "PING"]
